//! How a job that takes a backup ends, in words and numbers: shared by `backup` and `receive`.

use super::{Output, talk};
use crate::backup::{self, Backup};
use crate::exit::ExitCode;
use crate::outcome::Outcome;
use crate::pipeline::manifest::BackupId;
use crate::sink::{CopyReport, Receipt};

/// What everybody is told, but for the exit code and the time.
pub(super) fn outcome_of(
    result: &Result<Backup, backup::Error>,
    group: &str,
    id: &BackupId,
) -> Outcome {
    let outcome = Outcome {
        group: group.to_owned(),
        backup_id: id.to_string(),
        ended: jiff::Timestamp::now().as_second(),
        ..Outcome::default()
    };
    match result {
        Ok(Backup { manifest, receipt }) => Outcome {
            location: Some(receipt.location.clone()),
            files: manifest.totals.files,
            file_bytes: manifest.totals.file_bytes,
            stored_bytes: receipt.stored_bytes,
            said: receipt.said.clone(),
            ..outcome
        },
        Err(error) => Outcome { error: Some(talk::sentence(error)), ..outcome },
    }
}

/// Tells people the end, and gives its exit code.
pub(super) fn finish(
    result: Result<Backup, backup::Error>,
    signal: Option<ExitCode>,
    output: Output,
) -> ExitCode {
    match result {
        Ok(backup) => {
            answer(&backup, output);
            ExitCode::Success
        }
        Err(error) => {
            let code = match (&error, signal) {
                (backup::Error::Stopped, Some(signal)) => signal,
                _ => error.exit_code(),
            };
            talk::fail_with_remedy(&error, error.remedy(), code)
        }
    }
}

fn answer(backup: &Backup, output: Output) {
    let Backup { manifest, receipt } = backup;
    // What is on standard output already is the backup, and nothing may follow it.
    if receipt.location.split(", ").any(|at| at == "-") {
        return;
    }
    match output {
        Output::Json => {
            let answer = serde_json::json!({
                "location": receipt.location,
                "stored_bytes": receipt.stored_bytes,
                "copies": copies(receipt),
                "manifest": manifest,
            });
            talk::answer(&answer.to_string());
        }
        Output::Text => talk::answer(&format!(
            "backup {} is complete: {} files, {} bytes, state {}:{} or later, in {}",
            manifest.backup_id,
            manifest.totals.files,
            manifest.totals.file_bytes,
            manifest.state.uuid,
            manifest.state.seqno_at_least,
            receipt.location,
        )),
    }
}

/// What became of each of several copies.
pub(super) fn copies(receipt: &Receipt) -> Vec<serde_json::Value> {
    let report = |copy: &CopyReport| {
        serde_json::json!({
            "location": copy.location,
            "stored_bytes": copy.stored_bytes,
            "failure": copy.failure,
        })
    };
    receipt.copies.iter().map(report).collect()
}
