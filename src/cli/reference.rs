//! `reference`: flags, exit codes and metrics as Markdown, read from the code that uses them.
//!
//! `docs/reference.md` is its output, and a test compares the two.

use std::fmt::Write;

use clap::{Arg, Command};
use galera_protocol::NodeId;
use galera_protocol::member::{Config, Identity, Member};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use super::talk;
use crate::backup::{self, Reporter};
use crate::exit::ExitCode;
use crate::member::{Picture, Traffic};

const HEAD: &str = "\
# Reference

Made by `galera-sst reference`; a test keeps it so. What is promised to stay: [stability.md](stability.md).

A flag's value is taken from the command line, else from its twin in the environment (`--to`: `GALERA_SST_TO`, `--donor-timeout`:
`GALERA_SST_DONOR_TIMEOUT`), else from the `--config` file (key `to`, at the top or in a table named as the command), else its default.
Flags that may be given again take a list in the file. Standard output is data, standard error is talk.
";

/// Runs the command.
pub(super) fn run(command: &Command) -> ExitCode {
    let mut text = HEAD.to_owned();
    exit_codes(&mut text);
    metrics(&mut text);
    let _ = write!(text, "\n## Flags of every command\n");
    flags(&mut text, command, |arg| arg.is_global_set());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        section(&mut text, sub, "", "##");
    }
    talk::answer(text.trim_end());
    ExitCode::Success
}

fn exit_codes(text: &mut String) {
    text.push_str("\n## Exit codes\n\n| code | means |\n|---:|---|\n");
    for code in ExitCode::ALL {
        let _ = writeln!(text, "| {} | {} |", code.number(), code.meaning());
    }
}

fn section(text: &mut String, command: &Command, before: &str, level: &str) {
    let name = format!("{before}{}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{level} `{name}`\n\n{about}.\n");
    flags(text, command, |arg| !arg.is_global_set());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        section(text, sub, &format!("{name} "), &format!("{level}#"));
    }
}

/// One table for each heading, in the order in which `--help` has them.
fn flags(text: &mut String, command: &Command, is_shown: impl Fn(&Arg) -> bool) {
    let shown = |arg: &&Arg| is_shown(arg) && !arg.is_hide_set() && arg.get_id() != "help";
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in command.get_arguments().filter(shown) {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        let title = heading.unwrap_or("flag");
        let _ = write!(text, "\n| {title} | default | says |\n|---|---|---|\n");
        let args = command.get_arguments().filter(shown);
        for arg in args.filter(|arg| arg.get_help_heading() == heading) {
            let _ = writeln!(text, "| {} | {} | {} |", usage(arg), default(arg), says(arg));
        }
    }
}

fn usage(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter().map(|name| cell(name));
    let values = values.collect::<Vec<_>>().join(" ");
    let takes_value = arg.get_action().takes_values();
    match arg.get_long() {
        Some(long) if takes_value => format!("`--{long} {values}`"),
        Some(long) => format!("`--{long}`"),
        None => format!("`{values}`"),
    }
}

fn default(arg: &Arg) -> String {
    if arg.is_required_set() {
        return "required".to_owned();
    }
    if !arg.get_action().takes_values() {
        return String::new();
    }
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let values = values.collect::<Vec<_>>().join(", ");
    if values.is_empty() { String::new() } else { format!("`{}`", cell(&values)) }
}

fn says(arg: &Arg) -> String {
    let mut says = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    let names: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if arg.get_action().takes_values() && !names.is_empty() {
        let names = names.iter().map(|value| format!("`{}`", value.get_name()));
        let _ = write!(says, ": {}", names.collect::<Vec<_>>().join(", "));
    }
    cell(&says)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn metrics(text: &mut String) {
    text.push_str("\n## Metrics\n\nServed by `--http` at `/metrics`.\n\n| name | type | says |\n|---|---|---|\n");
    let mut page = String::new();
    // Writing into a string cannot fail.
    let _ = prometheus_client::encoding::text::encode(&mut page, &registry());
    let mut help = "";
    for line in page.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            help = line.split_once(' ').map_or("", |(_, help)| help.trim_end_matches('.'));
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let _ = writeln!(text, "| `{name}{suffix}` | {kind} | {} |", cell(help));
        }
    }
}

/// Everything that is ever shown: a job's metrics and those of a member that has not started.
fn registry() -> Registry {
    let (reporter, _lines) = Reporter::new();
    let member = Member::new(Config::default(), Identity::Fresh(NodeId::NIL), 0);
    let (status, traffic) = (member.status(), Traffic::default());
    let picture = Picture { status, traffic, taken: Instant::now(), saved: None };
    reporter.monitor.follow(watch::channel(picture).1);
    backup::metrics::registry(&reporter)
}
