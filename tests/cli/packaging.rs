//! What packages ship: completions, manual pages, the reference.

use std::{fs, process::Command};

use super::{code, run, stderr};

fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments, &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_reference_in_the_docs_is_what_the_program_says() {
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");
    let written = fs::read_to_string(written).expect("docs/reference.md is there");
    let now = stdout(&["reference"]);
    let differs = now.lines().zip(written.lines()).find(|(now, was)| now != was);
    let same_length = now.lines().count() == written.lines().count();
    assert!(
        differs.is_none() && same_length,
        "docs/reference.md is out of date: {differs:?}\n\
         try: cargo run --bin galera-sst -- reference >docs/reference.md"
    );
}

#[test]
fn bash_accepts_its_completions_and_they_know_a_flag() {
    let script = stdout(&["completions", "bash"]);
    assert!(script.contains("--donor-timeout"));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("galera-sst.bash");
    fs::write(&file, script).expect("write");
    let checked = Command::new("bash").arg("-n").arg(&file).status().expect("run bash");
    assert!(checked.success());
}

#[test]
fn every_command_in_the_help_has_a_manual_page() {
    let directory = tempfile::tempdir().expect("directory");
    let pages = directory.path().join("man");
    stdout(&["man", "--to", pages.to_str().expect("UTF-8")]);
    let help = stdout(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        // What is further to the right goes on with a command's description.
        .filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help" && name.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    assert!(names.contains(&"backup"), "{names:?}");
    for name in names {
        let page = pages.join(format!("galera-sst-{name}.1"));
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
        assert!(text.contains(".TH galera\\-sst") || text.contains(".TH galera-sst"), "{name}");
    }
}

#[test]
fn a_directory_for_pages_that_cannot_be_made_is_a_failure_of_the_target() {
    let output = run(["man", "--to", "/proc/no-such-place/man"], &[]);
    assert_eq!(code(&output), 74, "{}", stderr(&output));
    assert!(stderr(&output).contains("write the manual pages into /proc/no-such-place/man"));
}

#[test]
fn an_installed_copy_runs() {
    let directory = tempfile::tempdir().expect("directory");
    let output = run(["install".as_ref(), directory.path().as_os_str()], &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let copy = Command::new(directory.path().join("galera-sst")).arg("--version").output();
    assert_eq!(copy.expect("it runs").stdout, run(["--version"], &[]).stdout);
    let nowhere = run(["install", "/proc/no-such-place"], &[]);
    assert_eq!(code(&nowhere), 74, "{}", stderr(&nowhere));
}
