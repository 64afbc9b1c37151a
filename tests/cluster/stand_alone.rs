//! A server without a group: its logical dump into a repository, and back into another server.

use crate::support::{
    content,
    job::Job,
    local::{LocalServer, LocalServers},
    server::{Provider, Server, Start},
    wait::{self, seconds},
};

/// A running server that knows of no group.
fn stand_alone(servers: &LocalServers, name: &str) -> LocalServer {
    let mut server = servers.create(name);
    server.set("wsrep-on=OFF\nwsrep-provider=none");
    server.start(&Start::Join(String::new()));
    wait::until_true(&format!("{name} answers"), seconds(60), || {
        server.try_query("SELECT 1").is_ok()
    });
    server
}

fn client(job: Job, program: &str, server: &LocalServer, more: &[&str]) -> Job {
    let socket = format!("--socket={}", server.socket().display());
    let job =
        ["--", program, "--no-defaults", &socket, "-uroot"].into_iter().fold(job, Job::switch);
    more.iter().copied().fold(job, Job::switch)
}

fn at(command: &str, repository: &str) -> Job {
    Job::new(command).flag("--from", repository)
}

#[test]
#[ignore = "starts real servers"]
fn a_dump_is_stored_checked_copied_and_loaded_into_another_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let servers = LocalServers::new("none", directory.path());
    let url = |name: &str| format!("file://{}", directory.path().join(name).display());
    let (first, second) = (url("first"), url("second"));
    let source = stand_alone(&servers, "source");
    source.query(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR(2000)) DEFAULT CHARSET utf8mb4;
         INSERT INTO items SELECT seq, REPEAT(CONCAT('Ж', seq), 100) FROM seq_1_to_20000",
    );

    let dump = Job::new("dump").flag("--to", &first).flag("--group", "shop");
    let dump = dump.flag("--output", "json");
    let dumped =
        client(dump, "mariadb-dump", &source, &["--single-transaction", "--databases", "shop"]);
    let dumped = dumped.run(seconds(120)).expect(&[0]).json();
    assert_eq!(
        dumped["manifest"]["witnesses"]["closing_files"]["seen"]["missing"].to_string(),
        "[]"
    );
    assert_eq!(dumped["manifest"]["flavour"], "mariadb");

    at("verify", &first).run(seconds(60)).expect(&[0]);
    at("copy", &first).flag("--to", &second).run(seconds(60)).expect(&[0]);
    at("prune", &second).flag("--keep-last", "1").run(seconds(60)).expect(&[0]);
    let text = at("cat", &second).switch("dump.sql").run(seconds(60)).expect(&[0]).stdout;
    assert!(text.contains("CREATE TABLE `items`"));
    let refused = Job::restore(&second, &directory.path().join("data")).run(seconds(60));
    refused.expect(&[64]).expect_sentence(&["load"]);

    let target = stand_alone(&servers, "target");
    client(at("load", &second), "mariadb", &target, &[]).run(seconds(120)).expect(&[0]);
    assert_eq!(content::checksums(&target), content::checksums(&source));
}

#[test]
#[ignore = "starts real servers"]
fn a_dump_or_a_load_that_fails_half_way_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let servers = LocalServers::new("none", directory.path());
    let repository = format!("file://{}", directory.path().join("repository").display());
    let source = stand_alone(&servers, "source");
    source.query(
        "CREATE DATABASE shop; USE shop; CREATE TABLE shop.a (id INT PRIMARY KEY);
         INSERT INTO shop.a SELECT seq FROM seq_1_to_1000;
         CREATE VIEW shop.b AS SELECT id FROM shop.a; ALTER TABLE shop.a RENAME COLUMN id TO i",
    );
    // The view is broken: the command writes the tables before it, and fails.
    let dump = Job::new("dump").flag("--to", &repository);
    let failed = client(dump, "mariadb-dump", &source, &["--databases", "shop"]);
    failed.run(seconds(60)).expect(&[101]).expect_sentence(&["the dump command failed"]);
    let listed = at("list", &repository).flag("--output", "json").run(seconds(60)).expect(&[0]);
    assert_eq!(listed.json(), serde_json::json!([]));

    source.query("DROP VIEW shop.b");
    let dump = Job::new("dump").flag("--to", &repository);
    let dump = client(dump, "mariadb-dump", &source, &["--databases", "shop"]);
    dump.run(seconds(60)).expect(&[0]);
    // A client that may not write.
    source.query("CREATE USER reader@localhost; GRANT SELECT ON *.* TO reader@localhost");
    let load = client(at("load", &repository), "mariadb", &source, &["-ureader"]);
    load.run(seconds(60)).expect(&[74]).expect_sentence(&["the command failed"]);
}
