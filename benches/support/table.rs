//! Times of the sides of one comparison, which run in turn, and how they are told: best and median of
//! each, and of each side of ours how many times as fast as every reference it is.

use std::io;
use std::process::{Child, Command};
use std::time::Duration;

/// One comparison.
pub(crate) struct Table {
    title: String,
    references: Vec<String>,
    rows: Vec<(String, Vec<Duration>)>,
}

impl Table {
    pub(crate) fn new(title: &str, references: &[&str]) -> Self {
        let references = references.iter().map(|&name| name.to_owned()).collect();
        Self { title: title.to_owned(), references, rows: Vec::new() }
    }

    /// Adds a time to its row.
    pub(crate) fn add(&mut self, name: &str, elapsed: Duration) {
        match self.rows.iter_mut().find(|(row, _)| row == name) {
            Some((_, times)) => times.push(elapsed),
            None => self.rows.push((name.to_owned(), vec![elapsed])),
        }
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        for (name, times) in &self.rows {
            let [best, median] = ranks(times);
            println!("  {name:22} best {best:6.2} s, median {median:6.2} s");
            for reference in self.references.iter().filter(|_| !self.references.contains(name)) {
                let Some((_, theirs)) = self.rows.iter().find(|(row, _)| row == reference) else {
                    continue;
                };
                let theirs = ranks(theirs);
                println!(
                    "    {:.2} times as fast as {reference}, by medians {:.2}; it is {:.2} times as \
                     fast, by medians {:.2}",
                    theirs[0] / best,
                    theirs[1] / median,
                    best / theirs[0],
                    median / theirs[1],
                );
            }
        }
    }
}

/// The best and the median time.
fn ranks(times: &[Duration]) -> [f64; 2] {
    let mut times = times.to_vec();
    times.sort();
    [0, times.len() / 2].map(|rank| times[rank].as_secs_f64())
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    wait(command.spawn()?)
}

/// Waits for a process that has to succeed.
pub(crate) fn wait(mut child: Child) -> io::Result<()> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}
