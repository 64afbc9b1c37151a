//! A database server of a cluster, and who provides it.

use std::{path::Path, time::Duration};

use super::{
    fault::Fault,
    wait::{self, seconds},
};

/// Makes servers: here from the packages of this machine ([`super::local::LocalServers`]); another
/// one could make them from container images.
pub(crate) trait Provider {
    /// What it makes.
    type Server: Server;

    /// A server with an empty database, not yet running.
    fn create(&self, name: &str) -> Self::Server;

    /// A server on an existing data directory, not yet running.
    fn adopt(&self, name: &str, data_directory: &Path) -> Self::Server;
}

/// How a server comes up.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// As the first node of its group.
    Bootstrap,
    /// As one more node of a group: `host:port,host:port`.
    Join(String),
}

/// One server.
pub(crate) trait Server {
    /// Its node name.
    fn name(&self) -> &str;

    /// Where its group link listens: `host:port`.
    fn group_address(&self) -> String;

    /// Starts it and returns at once.
    fn start(&mut self, start: &Start);

    /// Ends it at once, as a crash would.
    fn kill(&mut self);

    /// Shuts it down in order.
    fn stop(&mut self);

    /// Whether its process runs.
    fn is_running(&mut self) -> bool;

    /// How often it was started.
    fn starts(&self) -> usize;

    /// Its error log so far.
    fn log(&self) -> String;

    /// Where its data lies.
    fn data_directory(&self) -> &Path;

    /// Where local clients connect.
    fn socket(&self) -> &Path;

    /// From now on its state transfers as donor go wrong in this way.
    fn set_fault(&self, fault: Fault);

    /// Whether the current fault has struck.
    fn has_fault_struck(&self) -> bool;

    /// Waits until the current fault has struck: a transfer has come to its middle.
    fn wait_fault(&self) {
        let what = format!("a transfer from {} to come to its middle", self.name());
        wait::until_true(&what, seconds(60), || self.has_fault_struck());
    }

    /// Asks one question.
    fn try_query(&self, sql: &str) -> Result<String, String> {
        super::session::query(self.socket(), sql)
    }

    /// Asks one question that must have an answer.
    fn query(&self, sql: &str) -> String {
        self.try_query(sql)
            .unwrap_or_else(|error| panic!("{} answered {sql:?} with {error}", self.name()))
    }

    /// One of its `wsrep_…` status values, while it answers.
    fn try_status(&self, variable: &str) -> Option<String> {
        let row = self.try_query(&format!("SHOW STATUS LIKE '{variable}'")).ok()?;
        row.split_once('\t').map(|(_, value)| value.to_owned())
    }

    /// One of its `wsrep_…` status values.
    fn status(&self, variable: &str) -> String {
        self.try_status(variable)
            .unwrap_or_else(|| panic!("{} has no status {variable}", self.name()))
    }

    /// The global seqno of the last write-set it committed.
    fn last_committed(&self) -> u64 {
        self.status("wsrep_last_committed").parse().expect("a seqno is a number")
    }

    /// Whether it is Synced and in the primary component.
    fn is_synced(&self) -> bool {
        self.try_status("wsrep_local_state_comment").as_deref() == Some("Synced")
            && self.try_status("wsrep_cluster_status").as_deref() == Some("Primary")
    }

    /// Waits until a status has this value.
    fn wait_status(&self, variable: &str, value: &str, limit: Duration) {
        let what = format!("{variable} = {value} on {}", self.name());
        wait::until_true(&what, limit, || self.try_status(variable).as_deref() == Some(value));
    }

    /// Waits until it is Synced; a server that ends meanwhile fails the test at once.
    fn wait_synced(&mut self) {
        let name = self.name().to_owned();
        wait::until_true(&format!("{name} to be Synced"), seconds(90), || {
            assert!(self.is_running(), "{name} ended while starting:\n{}", tail(&self.log()));
            self.is_synced()
        });
    }
}

/// The end of a log, for messages.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
