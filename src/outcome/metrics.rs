//! The end of a job as metrics, pushed: a job that has ended cannot be scraped.

use super::{Outcome, http};

/// Replaces this group's metrics at a Pushgateway; after a failure the last success stays as it is.
pub(super) async fn push(url: &str, outcome: &Outcome) -> reqwest::Result<()> {
    // Labels with a slash have to be in base64.
    let group = base64_url(outcome.group.as_bytes());
    let base = url.trim_end_matches('/');
    let job = if outcome.is_success() { "galera_sst_backup" } else { "galera_sst_backup_failure" };
    let target = format!("{base}/metrics/job/{job}/group@base64/{group}");
    http::put(&target, text(outcome)).await
}

fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: String| {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
    };
    let code = outcome.exit_code.to_string();
    gauge("galera_sst_backup_exit_code", "Exit code of the last job.", code);
    let ended = outcome.ended.to_string();
    if outcome.is_success() {
        gauge(
            "galera_sst_backup_last_success_timestamp_seconds",
            "End of the last good job.",
            ended,
        );
        let bytes = outcome.stored_bytes.to_string();
        gauge("galera_sst_backup_stored_bytes", "Bytes stored by the last good job.", bytes);
        let bytes = outcome.file_bytes.to_string();
        gauge("galera_sst_backup_file_bytes", "Bytes of files in the last good backup.", bytes);
        gauge(
            "galera_sst_backup_files",
            "Files in the last good backup.",
            outcome.files.to_string(),
        );
    } else {
        gauge(
            "galera_sst_backup_last_failure_timestamp_seconds",
            "End of the last failed job.",
            ended,
        );
    }
    let seconds = format!("{:.3}", outcome.duration.as_secs_f64());
    gauge("galera_sst_backup_duration_seconds", "How long the last job took.", seconds);
    text
}

/// As a Pushgateway reads it in a path; `=` alone stands for nothing.
fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if bytes.is_empty() {
        return "=".to_owned();
    }
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=three.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[value as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_encoded_as_a_path_takes_them() {
        assert_eq!(base64_url(b""), "=");
        assert_eq!(base64_url(b"a/b?"), "YS9iPw");
        assert_eq!(base64_url(b"pxc"), "cHhj");
        assert_eq!(base64_url(&[0xff, 0xfe]), "__4");
    }

    #[test]
    fn a_failure_says_nothing_of_a_success() {
        let failed = text(&Outcome { exit_code: 74, ended: 5, ..Outcome::default() });
        assert!(failed.contains("galera_sst_backup_exit_code 74\n"));
        assert!(!failed.contains("success"));
    }
}
