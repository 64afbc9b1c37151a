//! `/dev/termination-log`: Kubernetes shows it where a container has ended.

use std::io::{self, Write};
use std::path::Path;

use super::Outcome;

/// Where Kubernetes puts the file, unless told otherwise.
pub const DEFAULT: &str = "/dev/termination-log";

/// Kubernetes keeps 4096 bytes of it.
const BYTES_MAX: usize = 4096;

/// One sentence, then the facts in one line of JSON. The file must be there: nobody else reads it.
pub(super) fn write(file: &Path, outcome: &Outcome) -> io::Result<()> {
    let sentence = match (&outcome.error, &outcome.location) {
        (Some(error), _) => error.clone(),
        (None, Some(location)) => format!("backup {} is in {location}", outcome.backup_id),
        (None, None) => format!("backup {} is complete", outcome.backup_id),
    };
    let facts = serde_json::json!({
        "exit_code": outcome.exit_code,
        "backup_id": outcome.backup_id,
        "location": outcome.location,
        "stored_bytes": outcome.stored_bytes,
        "duration_seconds": outcome.duration.as_secs(),
    });
    let facts = format!("\n{facts}\n");
    let room = BYTES_MAX.saturating_sub(facts.len());
    let end = (0..=room.min(sentence.len())).rev().find(|&at| sentence.is_char_boundary(at));
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(file)?;
    file.write_all(&sentence.as_bytes()[..end.unwrap_or(0)])?;
    file.write_all(facts.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_comes_first_and_the_facts_are_never_cut() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let error = Some("ä".repeat(5000));
        write(file.path(), &Outcome { exit_code: 74, error, ..Outcome::default() })
            .expect("written");
        let text = std::fs::read_to_string(file.path()).expect("UTF-8");
        assert!(text.len() <= BYTES_MAX && text.starts_with('ä'));
        let facts = text.lines().last().expect("two lines");
        let facts: serde_json::Value = serde_json::from_str(facts).expect("JSON");
        assert_eq!(facts["exit_code"], 74);
    }
}
