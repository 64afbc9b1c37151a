//! A conversation with a server, through the packaged command line client.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const END_OF_ANSWER: &str = "--- end of answer ---";

/// Asks one question over a connection of its own; the answer is the client's, tab separated.
pub(crate) fn query(socket: &Path, sql: &str) -> Result<String, String> {
    let output = client(socket)
        .args(["--execute", sql])
        .stdin(Stdio::null())
        .output()
        .expect("run the mariadb client");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}

/// A connection that stays: one statement list after the other.
pub(crate) struct Session {
    client: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Session {
    /// Connects.
    pub(crate) fn open(socket: &Path) -> Self {
        let mut client = client(socket)
            .args(["--force", "--unbuffered"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("run the mariadb client");
        let to = client.stdin.take().expect("the client's input is a pipe");
        let from = BufReader::new(client.stdout.take().expect("the client's output is a pipe"));
        Self { client, to, from }
    }

    /// Runs the statements and returns the rows they gave; `None` once the server is gone. A
    /// statement that fails gives no row.
    pub(crate) fn run(&mut self, sql: &str) -> Option<Vec<String>> {
        writeln!(self.to, "{sql}; SELECT '{END_OF_ANSWER}';").ok()?;
        let mut rows = Vec::new();
        loop {
            let mut row = String::new();
            if self.from.read_line(&mut row).ok()? == 0 {
                return None;
            }
            let row = row.trim_end();
            if row == END_OF_ANSWER {
                return Some(rows);
            }
            rows.push(row.to_owned());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both fail only if the client has ended by itself.
        self.client.kill().ok();
        self.client.wait().ok();
    }
}

fn client(socket: &Path) -> Command {
    let mut command = super::process::command("mariadb");
    command
        .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"])
        .arg("--default-character-set=utf8mb4");
    command.arg("--socket").arg(socket);
    command
}
