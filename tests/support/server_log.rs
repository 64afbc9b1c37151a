//! What a server's error log may say.

/// Lines with a word that says "error" and mean nothing bad in these tests.
const HARMLESS: [&str; 3] = [
    // The packaged server looks for plugins and tables that a bare installation lacks.
    "Could not open mysql.plugin table",
    // A node that leaves or is killed closes its links; its peers say so as an error of the socket.
    "handshake with remote endpoint",
    "(type: 'gmcast', backend: tcp)",
];

/// Lines that no server may ever write here.
const NEVER: [&str; 7] = [
    "got signal",
    "Assertion",
    "Aborting",
    "Need to abort",
    "inconsistent",
    "Inconsistency detected",
    "unsupported",
];

/// The lines of a log that should not be there: every error that is neither harmless nor contains
/// one of `expected`, and everything that tells of an abort.
pub(crate) fn complaints<'log>(log: &'log str, expected: &[&str]) -> Vec<&'log str> {
    log.lines().filter(|line| is_complaint(line, expected)).collect()
}

fn is_complaint(line: &str, expected: &[&str]) -> bool {
    if contains_any(line, &NEVER) {
        return true;
    }
    line.contains("[ERROR]") && !contains_any(line, &HARMLESS) && !contains_any(line, expected)
}

fn contains_any(line: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| line.contains(pattern))
}

/// How many times a server process came up, by its own words.
pub(crate) fn starts(log: &str) -> usize {
    log.lines().filter(|line| line.contains("Starting MariaDB")).count()
}

/// The members of each view that the log tells of, in the group's order, as node names.
pub(crate) fn views(log: &str) -> Vec<Vec<String>> {
    let names = |view: Vec<Member>| view.into_iter().map(|(_, name)| name).collect();
    members_of_views(log).into_iter().map(names).collect()
}

/// The ids of the members of the last view, in the group's order.
pub(crate) fn member_ids(log: &str) -> Vec<String> {
    let last = members_of_views(log).pop().unwrap_or_default();
    last.into_iter().map(|(id, _)| id).collect()
}

/// An id and a name.
type Member = (String, String);

fn members_of_views(log: &str) -> Vec<Vec<Member>> {
    let mut views = Vec::new();
    let mut lines = log.lines();
    while let Some(line) = lines.next() {
        if line.contains("members(") && line.trim_end().ends_with("):") {
            views.push(lines.by_ref().map_while(member).collect());
        }
    }
    views
}

/// What is in an indented line like `0: 5c8e1a1c-c7a5-11f0-…, n1`.
fn member(line: &str) -> Option<Member> {
    let (index, rest) = line.trim().split_once(": ")?;
    index.parse::<usize>().ok()?;
    rest.split_once(", ").map(|(id, name)| (id.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-22 19:26:40 0 [Note] Starting MariaDB 10.11.19-MariaDB source revision  as process 4
View:
  id: 92b980b1-e6aa-11f1-8c97-3ed146a37d3b:4
  own_index: 1
  members(2):
\t0: a9af70b9-e6aa-11f1-8747-7b59cc33b5c6, n1
\t1: a9cc1d2e-e6aa-11f1-bf78-6f8eb7faa941, galera-sst-host
=================================================
2026-11-22 19:26:50 0 [ERROR] WSREP: Process completed with error: wsrep_sst_mariabackup --role
2026-11-22 19:26:51 0 [ERROR] Something else
";

    #[test]
    fn the_members_of_a_view_are_told_in_order() {
        assert_eq!(views(LOG), [["n1", "galera-sst-host"]]);
        let ids = ["a9af70b9-e6aa-11f1-8747-7b59cc33b5c6", "a9cc1d2e-e6aa-11f1-bf78-6f8eb7faa941"];
        assert_eq!(member_ids(LOG), ids);
    }

    #[test]
    fn errors_are_complaints_unless_expected() {
        assert_eq!(complaints(LOG, &[]).len(), 2);
        assert_eq!(complaints(LOG, &["wsrep_sst_mariabackup"]).len(), 1);
        assert_eq!(complaints("mysqld got signal 6", &["signal"]).len(), 1);
    }

    #[test]
    fn each_start_of_a_server_is_counted() {
        assert_eq!(starts(LOG), 1);
    }
}
