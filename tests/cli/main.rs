//! The built binary where no group is needed: exit code, standard output, standard error.

mod credentials;
mod decode;
mod packaging;
mod traces;
mod xbstream;

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    process::{Command, Output},
};

/// Nobody listens on the discard port, and connecting to it disturbs nobody.
const NOBODY: &str = "gcomm://127.0.0.1:9";

/// Runs `galera-sst` without what the caller's environment may say to it.
fn run<A: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    environment: &[(&str, &str)],
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALERA_SST_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied()).output().expect("run galera-sst")
}

/// A backup that ends soon, for nobody answers.
fn lonely_backup<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let ports = ["--listen", "127.0.0.1:0", "--options", "gmcast.listen_addr=tcp://127.0.0.1:0"];
    let mut arguments = vec!["backup", "--connect-timeout", "1"];
    arguments.extend(ports.into_iter().chain(more.iter().copied()));
    arguments
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn help_shows_every_exit_code() {
    let output = run(["--help"], &[]);
    assert_eq!(code(&output), 0);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for code in ["64", "65", "69", "73", "74", "75", "77", "78", "100", "101", "102", "130", "143"]
    {
        assert!(help.contains(code), "{code} is missing in\n{help}");
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error_that_leaves_standard_output_empty() {
    for arguments in [&["backup", "--no-such-flag"][..], &["no-such-command"], &["backup"], &[]] {
        let output = run(arguments, &[]);
        assert_eq!(code(&output), 64, "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_group_that_nobody_answers_for_is_unavailable() {
    let output = run(lonely_backup(&["--address", NOBODY, "--group", "g", "--to", "null:"]), &[]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("127.0.0.1:9"), "{}", stderr(&output));
}

#[test]
fn flags_come_from_the_environment_and_from_a_file() {
    let directory = tempfile::tempdir().expect("make a directory");
    let file = directory.path().join("config.toml");
    fs::write(&file, "[backup]\nto = \"null:\"\n").expect("write a file");
    let environment = [
        ("GALERA_SST_ADDRESS", NOBODY),
        ("GALERA_SST_GROUP", "g"),
        ("GALERA_SST_CONFIG", file.to_str().expect("a readable path")),
    ];
    let output = run(lonely_backup(&[]), &environment);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
}

#[test]
fn an_unknown_option_is_named() {
    let wrong = ["--address", "gcomm://127.0.0.1:9?no.such=1", "--group", "g", "--to", "null:"];
    let output = run(lonely_backup(&wrong), &[]);
    assert_eq!(code(&output), 78, "{}", stderr(&output));
    assert!(stderr(&output).contains("no.such"), "{}", stderr(&output));
}

#[test]
fn a_taken_listener_port_is_reported_before_anybody_is_dialled() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("take a port");
    let taken = holder.local_addr().expect("a listener has an address").to_string();
    let arguments =
        ["backup", "--address", NOBODY, "--group", "g", "--to", "null:", "--listen", &taken];
    let output = run(arguments, &[]);
    assert_eq!(code(&output), 78, "{}", stderr(&output));
    assert!(stderr(&output).contains(&taken), "{}", stderr(&output));
}

#[test]
fn a_data_directory_that_is_not_empty_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("make a directory");
    let precious = directory.path().join("ibdata1");
    fs::write(&precious, "precious").expect("write a file");
    let to = format!("datadir:{}", directory.path().display());
    let output = run(lonely_backup(&["--address", NOBODY, "--group", "g", "--to", &to]), &[]);
    assert_eq!(code(&output), 73, "{}", stderr(&output));
    assert_eq!(fs::read_to_string(&precious).expect("read a file"), "precious");
    assert_eq!(fs::read_dir(directory.path()).expect("read a directory").count(), 1);
}

#[test]
fn restoring_from_where_nothing_is_fails_and_makes_nothing() {
    let directory = tempfile::tempdir().expect("make a directory");
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let from = format!("file://{}", from.display());
    let output = run(["restore", "--from", &from, "--to", &to.display().to_string()], &[]);
    assert_ne!(code(&output), 0);
    assert!(!to.exists());
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn nothing_follows_a_dump_on_standard_output() {
    let command = ["--closing-line", "ignore", "--", "printf", "the last words"];
    let output = ["dump", "--group", "g", "--to", "exec:cat", "--to", "xbstream:-"];
    let output = run(output.iter().chain(&["--output", "json"]).chain(&command), &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let end = b"XBSTCK01\0E\x08\0\0\0dump.sql";
    assert!(output.stdout.ends_with(end), "{:?}", String::from_utf8_lossy(&output.stdout));
}
