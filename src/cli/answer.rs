//! How a job that stores something ends, in words and numbers: `backup`, `receive` and `dump`.

use std::error::Error;

use super::{Output, talk};
use crate::backup::{self, Backup};
use crate::exit::ExitCode;
use crate::outcome::Outcome;
use crate::pipeline::manifest::{BackupId, Manifest};
use crate::sink::{CopyReport, Receipt};

/// What everybody is told, but for the exit code and the time.
pub(super) fn outcome_of<E: Error + 'static>(
    result: Result<(&Manifest, &Receipt), &E>,
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
        Ok((manifest, receipt)) => Outcome {
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

/// What was stored of a backup, and where.
pub(super) fn stored(backup: &Backup) -> (&Manifest, &Receipt) {
    (&backup.manifest, &backup.receipt)
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
    let (manifest, receipt) = stored(backup);
    stored_in_full(manifest, receipt, output, || {
        format!(
            "backup {} is complete: {} files, {} bytes, state {}:{} or later, in {}",
            manifest.backup_id,
            manifest.totals.files,
            manifest.totals.file_bytes,
            manifest.state.uuid,
            manifest.state.seqno_at_least,
            receipt.location,
        )
    });
}

/// Answers that it is stored: in JSON, or in the words of the command.
pub(super) fn stored_in_full(
    manifest: &Manifest,
    receipt: &Receipt,
    output: Output,
    words: impl FnOnce() -> String,
) {
    // What is on standard output already is what was stored, and nothing may follow it.
    if receipt.location.split(", ").any(|at| at == "-") {
        return;
    }
    talk::answer(&match output {
        Output::Json => serde_json::json!({
            "location": receipt.location,
            "stored_bytes": receipt.stored_bytes,
            "copies": copies(receipt),
            "manifest": manifest,
        })
        .to_string(),
        Output::Text => words(),
    });
}

/// What became of each of several copies.
fn copies(receipt: &Receipt) -> Vec<serde_json::Value> {
    let report = |copy: &CopyReport| {
        serde_json::json!({
            "location": copy.location,
            "stored_bytes": copy.stored_bytes,
            "failure": copy.failure,
        })
    };
    receipt.copies.iter().map(report).collect()
}
