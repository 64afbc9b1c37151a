//! Progress for people: a bar on a terminal, a line every few seconds otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::talk;
use crate::backup::{Phase, Reporter, Talk};

/// Time between two lines where there is no terminal.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Time between two strokes of the bar.
const BAR_PERIOD: Duration = Duration::from_millis(200);

/// Shows phases, remarks and progress until the job has ended and everything that it said is shown.
pub(super) async fn show(
    reporter: Reporter,
    mut lines: mpsc::Receiver<Talk>,
    ended: CancellationToken,
) {
    let mut display = Display::new();
    let mut tick = interval(if display.bar.is_some() { BAR_PERIOD } else { LINE_PERIOD });
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => match line {
                Some(line) => display.say(&line),
                None => return,
            },
            () = ended.cancelled() => return display.clear(),
            _ = tick.tick() => display.progress(&reporter),
        }
    }
}

struct Display {
    bar: Option<ProgressBar>,
    last: (Instant, u64),
}

impl Display {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{spinner} {bytes} ({bytes_per_sec}) {msg}"));
            bar
        });
        Self { bar, last: (Instant::now(), 0) }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &Talk) {
        let text = match line {
            Talk::Phase(phase, about) if about.is_empty() => format!("phase: {phase}"),
            Talk::Phase(phase, about) => format!("phase: {phase} ({about})"),
            Talk::Remark(text) => text.clone(),
        };
        match &self.bar {
            Some(bar) => bar.suspend(|| talk::say(&text)),
            None => talk::say(&text),
        }
    }

    fn progress(&mut self, reporter: &Reporter) {
        if reporter.phase() != Phase::Receiving {
            return;
        }
        let snapshot = reporter.progress.snapshot();
        let current = snapshot.current.map(|path| path.to_string()).unwrap_or_default();
        match &self.bar {
            Some(bar) => {
                if let Some(total) = reporter.total_bytes().filter(|_| bar.length().is_none()) {
                    bar.set_length(total);
                    bar.set_style(style(
                        "{bar:30} {bytes}/{total_bytes} ({bytes_per_sec}, {eta}) {msg}",
                    ));
                }
                bar.set_position(snapshot.stream_bytes);
                bar.set_message(current);
            }
            None => {
                let now = Instant::now();
                let seconds = now.duration_since(self.last.0).as_secs_f64().max(0.001);
                let fresh = snapshot.stream_bytes.saturating_sub(self.last.1);
                let rate = HumanBytes((fresh as f64 / seconds) as u64);
                self.last = (now, snapshot.stream_bytes);
                let received = snapshot.stream_bytes;
                let left = left(received, reporter.total_bytes(), fresh as f64 / seconds);
                talk::say(&format!(
                    "received {} in {} files, {rate}/s{left}, {current}",
                    HumanBytes(received),
                    snapshot.files_complete,
                ));
            }
        }
    }
}

/// How much is left and how long it takes at this rate, if the size is known about.
fn left(received: u64, total: Option<u64>, rate: f64) -> String {
    let Some(left) = total.and_then(|total| total.checked_sub(received)) else {
        return String::new();
    };
    match Duration::try_from_secs_f64(left as f64 / rate) {
        Ok(time) => format!(", about {} left in {}", HumanBytes(left), HumanDuration(time)),
        Err(_) => format!(", about {} left", HumanBytes(left)),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_as_far_as_it_is_known() {
        let mib = 1 << 20;
        assert_eq!(left(mib, Some(61 * mib), mib as f64), ", about 60.00 MiB left in 60 seconds");
        assert_eq!(left(mib, Some(2 * mib), 0.0), ", about 1.00 MiB left");
        // The estimate was too small, or there is none.
        assert_eq!(left(2 * mib, Some(mib), 1.0), "");
        assert_eq!(left(mib, None, 1.0), "");
    }
}
