//! The commands of README and docs/tls.md, run as they stand there. Only places and names are put in,
//! and ports, which servers on one machine cannot share, stand in the environment.

use std::{fs, path::Path};

use crate::{
    support::{
        cluster::Cluster,
        content,
        howto::HowTo,
        ledger,
        local::LocalServer,
        ports::Ports,
        process,
        server::{Server, Start},
    },
    tls::{MODERN, group_options, transfer_files},
};

const README: &str = include_str!("../../README.md");
const TLS: &str = include_str!("../../docs/tls.md");

/// Where the documents have the certificates.
const DIRECTORY: &str = "/etc/mysql/ssl";

/// The fenced block of a document with these words in it.
fn block<'a>(document: &'a str, words: &str) -> &'a str {
    let blocks = document.split("\n```").skip(1).step_by(2);
    let block = blocks.filter(|block| block.contains(words)).last();
    let (_, block) = block.and_then(|block| block.split_once('\n')).expect("the block is there");
    block
}

/// Runs commands in a directory; `ports` are for one that joins a group.
fn shell(script: &str, directory: &Path, ports: &Ports) {
    let binary = Path::new(env!("CARGO_BIN_EXE_galera-sst"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", binary.parent().expect("a directory").display());
    let output = process::command("bash")
        .args(["-euc", script])
        .current_dir(directory)
        .env("PATH", path)
        .env("GALERA_SST_LISTEN", ports.address(1))
        .env("GALERA_SST_OPTIONS", format!("gmcast.listen_addr=tcp://{}", ports.address(2)))
        .output()
        .expect("run a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    let answered = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{script}\nanswered\n{answered}\nsaid\n{said}");
}

/// Backs the cluster up and restores it by `commands`, and starts a server on the result.
fn run_as_written(cluster: &mut Cluster, commands: &str, certificates: &Path) {
    ledger::create(cluster.node(0));
    cluster.wait_level();
    let (repository, data) = (cluster.path("repository"), cluster.path("restored"));
    let mut script = commands.to_owned();
    for (place, ours) in [
        ("gcomm://db-1,db-2", format!("gcomm://{}", cluster.peers())),
        ("/backup/my_cluster", repository.display().to_string()),
        ("my_cluster", cluster.group().to_owned()),
        ("/var/lib/mysql", data.display().to_string()),
        (DIRECTORY, certificates.display().to_string()),
    ] {
        assert!(script.contains(place), "no {place} in\n{commands}");
        script = script.replace(place, &ours);
    }
    cluster.expect_unknown_method();
    shell(&script, certificates, &Ports::reserve());
    let manifests: Vec<_> = fs::read_dir(&repository).expect("a repository").flatten().collect();
    let [backup] = manifests.as_slice() else { panic!("{manifests:?}") };
    let manifest = fs::read_to_string(backup.path().join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("TLSv1.3"), "the transfer ran inside TLS: {manifest}");

    let mut server = cluster.adopt("restored-node", &data);
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(ledger::verify(&server), 0);
    assert_eq!(content::checksums(&server), content::checksums(cluster.node(0)));
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn the_readmes_commands_back_up_and_restore_a_group_with_tls() {
    let howto = HowTo::new();
    let names = "subjectAltName=DNS:db-1,DNS:db-2,DNS:db-3,DNS:localhost";
    let node = howto.with_extensions("node", names);
    let ca = howto.ca();
    let mut cluster = Cluster::start_set_up(3, |server| {
        server.set_provider(&group_options(&node, &ca));
        let mut transfer = transfer_files(&node, &ca, MODERN);
        transfer.push("ssl-mode=VERIFY_CA".to_owned());
        server.set_transfer(&transfer);
    });
    // As a Kubernetes secret has them.
    let secret = cluster.path("secret");
    fs::create_dir(&secret).expect("make a directory");
    for (file, name) in [(&ca, "ca.crt"), (&node.certificate, "tls.crt"), (&node.key, "tls.key")] {
        fs::copy(file, secret.join(name)).expect("copy");
    }
    run_as_written(&mut cluster, block(README, "--tls-dir"), &secret);
}

/// Sets a server up by the lines of the document.
fn set_up(server: &mut LocalServer, certificates: &Path) {
    let lines = block(TLS, "[sst]").replace(DIRECTORY, &certificates.display().to_string());
    let (mysqld, sst) = lines.split_once("[sst]\n").expect("two sections");
    let options = mysqld.split_once("wsrep_provider_options=\"").expect("provider options").1;
    server.set_provider(options.trim().trim_end_matches('"'));
    server.set_transfer(&sst.lines().map(str::to_owned).collect::<Vec<_>>());
}

#[test]
#[ignore = "starts real servers"]
fn the_how_tos_commands_back_up_and_restore_a_group_with_version_1_certificates() {
    let certificates = tempfile::tempdir().expect("a directory");
    shell(block(TLS, "openssl genrsa"), certificates.path(), &Ports::reserve());
    let mut cluster = Cluster::start_set_up(3, |server| set_up(server, certificates.path()));
    let commands = ["galera-sst doctor", "galera-sst restore"].map(|words| block(TLS, words));
    run_as_written(&mut cluster, &commands.join("\n"), certificates.path());
}
