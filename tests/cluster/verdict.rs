//! What the tests of failures check in the same way.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{
    cluster::Cluster,
    job::{Job, Outcome},
    wait::seconds,
};

/// A repository below the test's directory, and its name for `--to` and `--from`.
pub(crate) struct Repository {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// `file:///…`.
    pub(crate) url: String,
}

impl Repository {
    /// An empty one.
    pub(crate) fn create(cluster: &Cluster, name: &str) -> Self {
        let path = cluster.path(name);
        fs::create_dir_all(&path).expect("make a repository");
        let url = format!("file://{}", path.display());
        Self { path, url }
    }

    /// How many backups are there for everybody to see.
    pub(crate) fn backups(&self) -> usize {
        files_below(&self.path).iter().filter(|file| file.ends_with("manifest.json")).count()
    }
}

/// Every file below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// Runs a backup that must fail with one of these codes and a sentence with one of these words.
/// No backup may be visible afterwards, and the group must be as it was.
pub(crate) fn expect_failure(
    cluster: &mut Cluster,
    repository: &Repository,
    job: Job,
    codes: &[i32],
    words: &[&str],
) -> Outcome {
    let outcome = job.run(seconds(120));
    check_failure(cluster, repository, outcome, codes, words)
}

/// As [`expect_failure`], for a backup that has ended.
pub(crate) fn check_failure(
    cluster: &mut Cluster,
    repository: &Repository,
    outcome: Outcome,
    codes: &[i32],
    words: &[&str],
) -> Outcome {
    let outcome = outcome.expect(codes).expect_sentence(words);
    assert_eq!(repository.backups(), 0, "a failed backup can be seen in the repository");
    let size = cluster.running_nodes();
    cluster.wait_healthy(size);
    outcome
}
