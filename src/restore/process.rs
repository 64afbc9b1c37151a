//! Runs a database's own program: its talk goes to our log, its exit status and a time limit decide.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::error::RestoreError;

/// The longest line that is kept in one piece.
const LINE_BYTES_MAX: u64 = 8192;

/// Lines kept for judging the run and for telling why it failed.
const LINES_MAX: usize = 1000;

/// A program and how long it may take.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) limit: Duration,
}

/// What a program said at the end.
#[derive(Debug, Default)]
pub(super) struct Output {
    last_lines: VecDeque<String>,
}

impl Output {
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.last_lines.iter().map(String::as_str)
    }

    fn push(&mut self, line: String) {
        if self.last_lines.len() == LINES_MAX {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line);
    }

    /// The last line that says something.
    fn last_words(&self) -> String {
        self.lines().rev().find(|line| !line.is_empty()).unwrap_or_default().to_owned()
    }
}

impl Program {
    /// Runs it to its end. Success is exit status 0 within the limit; killed if we are dropped.
    pub(super) async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
    ) -> Result<Output, RestoreError> {
        let mut child = self.start(arguments)?;
        let mut output = Output::default();
        let ended = tokio::time::timeout(self.limit, self.follow(&mut child, &mut output)).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(output),
            Ok(Ok(status)) => Err(self.failed(status, &output)),
            Ok(Err(source)) => Err(RestoreError::Run { program: self.path.clone(), source }),
            Err(_) => {
                let killed = child.kill().await;
                tracing::debug!(program = %self.path.display(), ?killed, "time limit passed");
                Err(RestoreError::TimeLimit { program: self.path.clone(), limit: self.limit })
            }
        }
    }

    fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Child, RestoreError> {
        Command::new(&self.path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| RestoreError::Run { program: self.path.clone(), source })
    }

    async fn follow(&self, child: &mut Child, output: &mut Output) -> std::io::Result<ExitStatus> {
        let (mut out, mut err) = (Lines::of(child.stdout.take()), Lines::of(child.stderr.take()));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        loop {
            let line = tokio::select! {
                line = out.next(), if !out.ended => line?,
                line = err.next(), if !err.ended => line?,
                else => break,
            };
            if let Some(line) = line {
                tracing::info!(program = name, "{line}");
                output.push(line);
            }
        }
        child.wait().await
    }

    fn failed(&self, status: ExitStatus, output: &Output) -> RestoreError {
        RestoreError::Failed { program: self.path.clone(), status, last_words: output.last_words() }
    }
}

/// Lines of a pipe; what is no UTF-8 is replaced, what is too long is cut.
struct Lines<R> {
    from: Option<BufReader<R>>,
    line: Vec<u8>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn of(pipe: Option<R>) -> Self {
        Self { ended: pipe.is_none(), from: pipe.map(BufReader::new), line: Vec::new() }
    }

    /// The next line; `None` once at the end. Losing the future loses no bytes.
    async fn next(&mut self) -> std::io::Result<Option<String>> {
        let Some(from) = &mut self.from else { return Ok(None) };
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len() as u64);
        let read = from.take(room).read_until(b'\n', &mut self.line).await?;
        let is_cut = self.line.len() as u64 >= LINE_BYTES_MAX;
        self.ended = read == 0 && !is_cut;
        if self.ended && self.line.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        Ok(Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<Output, RestoreError> {
        Program { path: "/bin/sh".into(), limit }.run(&["-c", script]).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn both_pipes_are_read_to_the_end() {
        let output = shell("echo one; echo two >&2; printf three", LONG).await.expect("runs");
        let mut lines: Vec<_> = output.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "three", "two"]);
    }

    #[tokio::test]
    async fn a_failure_tells_the_last_words() {
        let error = shell("echo why; echo; exit 3", LONG).await.expect_err("fails");
        let RestoreError::Failed { status, last_words, .. } = error else { panic!("{error:?}") };
        assert_eq!((status.code(), last_words.as_str()), (Some(3), "why"));
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        let error = shell("exec sleep 1000", Duration::from_millis(50)).await.expect_err("hangs");
        assert!(matches!(error, RestoreError::TimeLimit { .. }));
    }

    #[tokio::test]
    async fn a_missing_program_is_told() {
        let program = Program { path: "/nonexistent/tool".into(), limit: LONG };
        assert!(matches!(program.run(&["x"]).await, Err(RestoreError::Run { .. })));
    }

    #[tokio::test]
    async fn endless_lines_and_noise_are_bounded() {
        let output = shell("head -c 100000 /dev/zero | tr '\\0' x; printf '\\377\\n'", LONG).await;
        let output = output.expect("runs");
        assert!(output.lines().all(|line| line.len() <= 8200));
        assert!(output.lines().count() >= 12);
    }
}
