//! A real cluster and what must hold of it.

use std::{
    panic,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use tempfile::TempDir;

use super::{
    garbd::{self, Garbd},
    local::{LocalServer, LocalServers},
    server::{Provider, Server, Start, tail},
    server_log,
    wait::{self, seconds},
};

/// Servers in one group, and a directory for whatever a test makes.
///
/// Dropping it ends them. When the test has failed it shows the end of every log first.
pub(crate) struct Cluster {
    provider: LocalServers,
    group: String,
    /// The servers, `n1` first.
    pub(crate) nodes: Vec<LocalServer>,
    expected_errors: &'static [&'static str],
    // Last: it removes the files of those above.
    directory: TempDir,
}

impl Cluster {
    /// Starts `count` servers named `n1`, `n2`, … and waits until all are Synced.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, &[])
    }

    /// As [`Cluster::start`], with more lines in the servers' settings.
    pub(crate) fn start_with(count: usize, settings: &[&str]) -> Self {
        let mut cluster = Self::create(count);
        for node in &mut cluster.nodes {
            settings.iter().for_each(|setting| node.set(setting));
        }
        cluster.start_nodes();
        cluster
    }

    /// As [`Cluster::start`], after each server was set up.
    pub(crate) fn start_set_up(count: usize, mut set_up: impl FnMut(&mut LocalServer)) -> Self {
        let mut cluster = Self::create(count);
        cluster.nodes.iter_mut().for_each(&mut set_up);
        cluster.start_nodes();
        cluster
    }

    fn create(count: usize) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let group = format!("test-{}-{number}", std::process::id());
        let directory = TempDir::with_prefix("galera-sst-").expect("make a directory");
        let provider = LocalServers::new(&group, directory.path());
        let nodes: Vec<_> = (1..=count).map(|n| provider.create(&format!("n{n}"))).collect();
        Self { provider, group, nodes, expected_errors: &[], directory }
    }

    fn start_nodes(&mut self) {
        let (first, others) = self.nodes.split_first_mut().expect("a cluster has nodes");
        first.start(&Start::Bootstrap);
        first.wait_synced();
        let peers = first.group_address();
        for node in others {
            // The seed allows any copy to be the first; these are not.
            forbid_bootstrap(node.data_directory());
            node.start(&Start::Join(peers.clone()));
            // One after the other: nodes that join together disturb each other's views for seconds.
            node.wait_synced();
        }
        self.wait_healthy(self.nodes.len());
    }

    /// The group's name.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Every server's group address, as in `gcomm://…`.
    pub(crate) fn peers(&self) -> String {
        self.nodes.iter().map(Server::group_address).collect::<Vec<_>>().join(",")
    }

    /// A path in the test's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A node by its index.
    pub(crate) fn node(&self, index: usize) -> &LocalServer {
        &self.nodes[index]
    }

    /// Brings a stopped or killed node back.
    pub(crate) fn restart(&mut self, index: usize) {
        let start = Start::Join(self.peers());
        let node = &mut self.nodes[index];
        node.start(&start);
        node.wait_synced();
    }

    /// Starts every node again after all have crashed: each by the view that it has saved.
    pub(crate) fn start_again(&mut self) {
        let start = Start::Join(self.peers());
        for node in &mut self.nodes {
            node.start(&start);
        }
        for node in &mut self.nodes {
            node.wait_synced();
        }
    }

    /// Adds one more node, which takes a full state transfer.
    pub(crate) fn add_node(&mut self) {
        let name = format!("n{}", self.nodes.len() + 1);
        let mut node = self.provider.create(&name);
        std::fs::remove_file(node.data_directory().join("grastate.dat")).expect("forget a state");
        node.start(&Start::Join(self.peers()));
        node.wait_synced();
        self.nodes.push(node);
    }

    /// A server on a restored data directory; it has the group's name but is not started.
    pub(crate) fn adopt(&self, name: &str, data_directory: &Path) -> LocalServer {
        self.provider.adopt(name, data_directory)
    }

    /// Starts a stock arbitrator.
    pub(crate) fn garbd(&self, name: &str) -> Garbd {
        Garbd::start(name, &self.group, &self.peers(), self.directory.path())
    }

    /// Starts a stock arbitrator with more arguments.
    pub(crate) fn garbd_with(&self, name: &str, arguments: &[&str]) -> Garbd {
        Garbd::start_with(name, &self.group, &self.peers(), self.directory.path(), arguments)
    }

    /// Starts our binary under garbd's name, with garbd's arguments.
    pub(crate) fn our_garbd_with(&self, name: &str, arguments: &[&str]) -> Garbd {
        let program = garbd::our_garbd(self.directory.path());
        let directory = self.directory.path();
        Garbd::run(&program, name, &self.group, &self.peers(), directory, arguments)
    }

    /// From now on the servers may log that a state transfer failed, which is part of the test.
    pub(crate) fn expect_donor_failures(&mut self) {
        self.expected_errors = &["WSREP_SST: ", "wsrep_sst_mariabackup", "wsrep_sst_xtrabackup-v2"];
    }

    /// From now on the servers may log that they do not know Percona's method, which is asked for first.
    pub(crate) fn expect_unknown_method(&mut self) {
        self.expected_errors = &["wsrep_sst_xtrabackup-v2"];
    }

    /// How many of its servers run.
    pub(crate) fn running_nodes(&mut self) -> usize {
        self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(())).count()
    }

    /// Waits until every node that runs is Synced in a primary component of `size` members.
    pub(crate) fn wait_healthy(&mut self, size: usize) {
        let size = size.to_string();
        for node in self.nodes.iter_mut().filter_map(|node| node.is_running().then_some(node)) {
            node.wait_synced();
            node.wait_status("wsrep_cluster_size", &size, seconds(30));
        }
    }

    /// Fails if a server stopped, restarted by itself, or logged what it should not have.
    pub(crate) fn assert_unharmed(&mut self) {
        for node in &mut self.nodes {
            assert!(node.is_running(), "{} has stopped", node.name());
        }
        for node in &self.nodes {
            let log = node.log();
            assert_eq!(server_log::starts(&log), node.starts(), "{} restarted", node.name());
            let complaints = server_log::complaints(&log, self.expected_errors);
            assert!(complaints.is_empty(), "{} says:\n{}", node.name(), complaints.join("\n"));
        }
    }

    /// Waits until all nodes have committed as much as the first, whose writers must have stopped.
    pub(crate) fn wait_level(&self) {
        let (first, others) = self.nodes.split_first().expect("a cluster has nodes");
        let seqno = first.last_committed();
        for node in others {
            let what = format!("{} to reach {seqno}", node.name());
            wait::until_true(&what, seconds(60), || node.last_committed() >= seqno);
        }
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "a failed test shows what the servers said")]
    fn drop(&mut self) {
        if thread::panicking() {
            for node in &self.nodes {
                eprintln!("===== {} =====\n{}", node.name(), tail(&node.log()));
            }
        }
        for node in &mut self.nodes {
            // A kill must not hide the failure that brought us here.
            panic::catch_unwind(panic::AssertUnwindSafe(|| node.kill())).ok();
        }
    }
}

fn forbid_bootstrap(data_directory: &Path) {
    let file = data_directory.join("grastate.dat");
    let text = std::fs::read_to_string(&file).expect("read grastate.dat");
    let text = text.replace("safe_to_bootstrap: 1", "safe_to_bootstrap: 0");
    std::fs::write(&file, text).expect("write grastate.dat");
}
