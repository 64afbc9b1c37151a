//! Real faults on a real network: three servers, garbd and our arbitrator, each in a network
//! namespace of its own. Makes the table in `docs/faults.md`:
//!
//! ```sh
//! cargo test --release --test faults -- --ignored --nocapture
//! ```
//!
//! It needs root, `/dev/net/tun`, `ip` and the packages that `scripts/install-deps` installs, and
//! says so where one is missing. `GALERA_SST_FAULTS=kill,cut` runs the rows whose names contain one
//! of these and writes no table; `GALERA_SST_FLAPPING_SECONDS=600` makes the flapping longer.

#[path = "../support/lib.rs"]
#[expect(dead_code, reason = "made for the tests of tests/cluster, which use all of it")]
mod support;

mod lab;
mod rows;
mod wire;

use std::{env, fmt::Write as _, fs, path::Path};

use lab::Lab;
use rows::{FAULTS, Row, Verdict};

#[test]
#[ignore = "starts real servers in network namespaces; needs root"]
#[expect(clippy::print_stdout, reason = "the rows are worth reading while they are made")]
fn the_fault_table_is_right_in_every_row() {
    let wanted = env::var("GALERA_SST_FAULTS").ok();
    let is_wanted = |name: &str| {
        wanted.as_ref().is_none_or(|words| words.split(',').any(|word| name.contains(word)))
    };
    let mut lab = Lab::build().unwrap_or_else(|problem| panic!("cannot run here: {problem}"));
    let mut rows = Vec::new();
    for fault in FAULTS.iter().filter(|fault| is_wanted(fault.name)) {
        let row = fault.run(&mut lab);
        println!("{}", line(&row));
        let verdict = row.verdict;
        rows.push(row);
        if verdict == Verdict::Wrong {
            println!("ours said at last:\n{}", lab.our_log());
        }
        // Only what went well leaves a group to go on with.
        if verdict != Verdict::Right {
            drop(lab);
            lab = Lab::build().expect("it was possible before");
        }
    }
    if wanted.is_none() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
        fs::write(file, table(&rows)).expect("write the table");
    }
    let wrong: Vec<_> =
        rows.iter().filter(|row| row.verdict == Verdict::Wrong).map(|row| row.fault).collect();
    assert!(wrong.is_empty(), "wrong: {wrong:?}");
}

fn line(row: &Row) -> String {
    let verdict = match row.verdict {
        Verdict::Right => "right",
        Verdict::Wrong => "**wrong**",
        Verdict::Comparison => "for comparison",
    };
    format!("| {} | {} | {} | {} | {verdict} |", row.fault, row.demanded, row.group, row.ours)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(include_str!("head.md"));
    for row in rows {
        writeln!(text, "{}", line(row)).expect("write to a string");
    }
    text
}
