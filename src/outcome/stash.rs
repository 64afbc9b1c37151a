//! Stash's `output.json` (spec 05 §7.2): what its controller copies into a BackupSession.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;

/// Where Stash looks, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stash {
    /// The directory of `output.json`.
    pub directory: PathBuf,
    /// The AppBinding: namespace and name.
    pub reference: (String, String),
    /// The host's name in Stash's report.
    pub hostname: String,
}

const API_VERSION: &str = "appcatalog.appscode.com/v1alpha1";

impl Stash {
    /// Writes the report of a backup.
    pub(super) fn write(&self, outcome: &Outcome) -> io::Result<()> {
        self.put(&self.report(outcome))
    }

    /// Writes the report of a restore, which failed if there is an error.
    pub fn write_restore(&self, error: Option<&str>, duration: Duration) -> io::Result<()> {
        let mut stats = self.stats(error.is_none(), duration);
        if let Some(error) = error {
            stats["error"] = error.into();
        }
        self.put(&self.about(stats))
    }

    /// The file appears whole.
    fn put(&self, report: &serde_json::Value) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let partial = self.directory.join(".output.json.partial");
        std::fs::write(&partial, report.to_string())?;
        std::fs::rename(partial, self.directory.join("output.json"))
    }

    fn report(&self, outcome: &Outcome) -> serde_json::Value {
        let mut stats = self.stats(outcome.is_success(), outcome.duration);
        if outcome.is_success() {
            stats["snapshots"] = serde_json::json!([snapshot(outcome)]);
        } else {
            stats["error"] = outcome.error.clone().unwrap_or_default().into();
        }
        self.about(stats)
    }

    fn stats(&self, is_success: bool, duration: Duration) -> serde_json::Value {
        serde_json::json!({
            "hostname": self.hostname,
            "phase": if is_success { "Succeeded" } else { "Failed" },
            "duration": human_time(duration),
        })
    }

    fn about(&self, stats: serde_json::Value) -> serde_json::Value {
        let (namespace, name) = &self.reference;
        let reference = serde_json::json!({
            "apiVersion": API_VERSION, "kind": "AppBinding", "name": name, "namespace": namespace,
        });
        serde_json::json!({ "targetStatus": { "ref": reference, "stats": [stats] } })
    }
}

/// restic's own summary where it stored the stream, else ours.
fn snapshot(outcome: &Outcome) -> serde_json::Value {
    let lines = outcome.said.as_deref().unwrap_or_default().lines().rev();
    let mut summaries = lines.filter_map(|line| serde_json::from_str(line).ok());
    let summary = summaries.find(|line: &serde_json::Value| line["message_type"] == "summary");
    let summary = summary.unwrap_or_default();
    let number = |key: &str| summary[key].as_u64();
    let id = summary["snapshot_id"].as_str().and_then(|id| id.get(..8));
    serde_json::json!({
        "name": id.unwrap_or(&outcome.backup_id),
        "path": "xtrabackup.stream",
        "totalSize": human_bytes(number("total_bytes_processed").unwrap_or(outcome.file_bytes)),
        "uploaded": human_bytes(number("data_added").unwrap_or(outcome.stored_bytes)),
        "processingTime": human_time(outcome.duration),
        "fileStats": {
            "totalFiles": number("total_files_processed").unwrap_or(outcome.files),
            "newFiles": number("files_new").unwrap_or(outcome.files),
            "modifiedFiles": number("files_changed").unwrap_or(0),
            "unmodifiedFiles": number("files_unmodified").unwrap_or(0),
        },
    })
}

/// As Go writes durations.
fn human_time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.into_iter().find(|(shift, _)| bytes >> shift > 0);
    match unit {
        Some((shift, name)) => format!("{:.3} {name}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stash(directory: PathBuf) -> Stash {
        let reference = ("demo".to_owned(), "pxc".to_owned());
        Stash { directory, reference, hostname: "host-0".to_owned() }
    }

    #[test]
    fn a_snapshot_of_restic_is_reported_as_restic_counts_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let said = "{\"message_type\":\"status\"}\n{\"message_type\":\"summary\",\
            \"snapshot_id\":\"a1b2c3d4e5f6\",\"data_added\":2048,\"total_bytes_processed\":3145728,\
            \"files_new\":1,\"total_files_processed\":1}\n";
        let outcome = Outcome {
            said: Some(said.to_owned()),
            duration: Duration::from_secs(62),
            ..Outcome::default()
        };
        stash(directory.path().to_path_buf()).write(&outcome).expect("written");
        let text = std::fs::read_to_string(directory.path().join("output.json")).expect("there");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let stats = &report["targetStatus"]["stats"][0];
        assert_eq!(report["targetStatus"]["ref"]["name"], "pxc");
        assert_eq!((&stats["phase"], &stats["duration"]), (&"Succeeded".into(), &"1m2s".into()));
        let snapshot = &stats["snapshots"][0];
        assert_eq!(snapshot["name"], "a1b2c3d4");
        assert_eq!(snapshot["totalSize"], "3.000 MiB");
        assert_eq!(snapshot["uploaded"], "2.000 KiB");
        assert_eq!(snapshot["fileStats"]["newFiles"], 1);
    }

    #[test]
    fn a_restore_is_reported_without_snapshots() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let stash = stash(directory.path().to_path_buf());
        let read = || {
            let text = std::fs::read_to_string(directory.path().join("output.json"));
            let report = serde_json::from_str::<serde_json::Value>(&text.expect("there"));
            report.expect("JSON")["targetStatus"]["stats"][0].take()
        };
        stash.write_restore(None, Duration::from_secs(3661)).expect("written");
        let expected = serde_json::json!({
            "hostname": "host-0", "phase": "Succeeded", "duration": "1h1m1s",
        });
        assert_eq!(read(), expected);
        stash.write_restore(Some("no space"), Duration::ZERO).expect("written");
        let stats = read();
        assert_eq!((&stats["phase"], &stats["error"]), (&"Failed".into(), &"no space".into()));
    }

    #[test]
    fn a_failure_has_its_cause_and_no_snapshot() {
        let error = Some("no donor".to_owned());
        let report =
            stash(PathBuf::new()).report(&Outcome { exit_code: 69, error, ..Outcome::default() });
        let stats = &report["targetStatus"]["stats"][0];
        assert_eq!((&stats["phase"], &stats["error"]), (&"Failed".into(), &"no donor".into()));
        assert!(stats.get("snapshots").is_none());
    }
}
