//! `galera-sst` in a container of its own.

use std::{
    thread,
    time::{Duration, Instant},
};

use testcontainers::{
    Container, GenericImage, ImageExt,
    core::{Mount, WaitFor},
    runners::SyncRunner,
};

use crate::group::Group;

const POLL: Duration = Duration::from_millis(200);

/// A run of the program.
pub(crate) struct Job {
    name: String,
    container: Container<GenericImage>,
}

/// How it ended.
pub(crate) struct End {
    pub(crate) code: i64,
    pub(crate) said: String,
}

impl Job {
    /// A backup of a group into its repository.
    pub(crate) fn backup(group: &Group) -> Self {
        Self::backup_with(group, &[])
    }

    /// A backup from this server alone.
    pub(crate) fn backup_from(group: &Group, server: usize) -> Self {
        Self::backup_with(group, &["--donor", &group.host(server)])
    }

    fn backup_with(group: &Group, more: &[&str]) -> Self {
        let address = format!("gcomm://{}", group.hosts());
        let words = ["backup", "--address", &address, "--group", "quickstart"];
        let to = ["--to", "file:///repository", "--method", "mariabackup", "--name", "job"];
        let words: Vec<_> = words.into_iter().chain(to).chain(more.iter().copied()).collect();
        Self::start(group, "backup", &words, &[])
    }

    /// Any command of the product's image, with the repository at hand.
    pub(crate) fn start(group: &Group, name: &str, words: &[&str], more: &[Mount]) -> Self {
        let mounts: Vec<_> = more.iter().cloned().chain([group.repository()]).collect();
        let image = GenericImage::new("galera-sst", "latest");
        Self::of(image, group, name, words, &mounts)
    }

    /// Any command of an image. A new volume belongs to root, and so does the command here.
    pub(crate) fn of(
        image: GenericImage,
        group: &Group,
        name: &str,
        words: &[&str],
        mounts: &[Mount],
    ) -> Self {
        let name = format!("{}-{name}", group.name());
        let is_server = words.first() == Some(&"galera-sst");
        let request = image
            .with_wait_for(WaitFor::Nothing)
            .with_container_name(&name)
            .with_network(group.name())
            .with_user(if is_server { "mysql" } else { "0" })
            .with_cmd(words.iter().copied());
        let request =
            mounts.iter().fold(request, |request, mount| request.with_mount(mount.clone()));
        Self { container: request.start().expect("start a job"), name }
    }

    /// The container's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it has said this.
    pub(crate) fn wait_for(&self, words: &str, limit: Duration) {
        let deadline = Instant::now() + limit;
        while !self.said().contains(words) {
            let is_running = self.container.is_running().expect("ask for its state");
            assert!(is_running, "it ended before it said {words:?}:\n{}", self.said());
            assert!(Instant::now() < deadline, "it did not say {words:?}:\n{}", self.said());
            thread::sleep(POLL);
        }
    }

    /// Waits for its end.
    pub(crate) fn finish(self, limit: Duration) -> End {
        let deadline = Instant::now() + limit;
        while self.container.is_running().expect("ask for its state") {
            assert!(Instant::now() < deadline, "not done in {limit:?}:\n{}", self.said());
            thread::sleep(POLL);
        }
        let code = self.container.exit_code().expect("ask for its exit code");
        End { code: code.expect("it has ended"), said: self.said() }
    }

    fn said(&self) -> String {
        let out = self.container.stdout_to_vec().expect("read standard output");
        let err = self.container.stderr_to_vec().expect("read standard error");
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }
}
