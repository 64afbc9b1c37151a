//! Three servers, each in a container, and questions to them.

use std::{
    process::{self, Command},
    thread,
    time::{Duration, Instant},
};

use testcontainers::{
    Container, GenericImage, ImageExt,
    core::{ExecCommand, Mount, WaitFor},
    runners::SyncRunner,
};

/// A new server installs its tables first; three of them share few cores.
const START_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);

/// One server.
pub(crate) struct Server(Container<GenericImage>);

impl Server {
    /// Runs a statement; what it answers, tab separated.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    fn try_sql(&self, statement: &str) -> Result<String, String> {
        let client = ["mariadb", "--no-defaults", "--user=root", "--socket=/tmp/mysqld.sock"];
        let words = client.into_iter().chain(["-BNe", statement]);
        let mut answer = self.0.exec(ExecCommand::new(words)).map_err(|error| error.to_string())?;
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = answer.stdout_to_vec().map_err(|error| error.to_string())?;
        match answer.exit_code() {
            Ok(Some(0)) => Ok(text(&said)),
            code => Err(format!(
                "{code:?} {}",
                text(&answer.stderr_to_vec().map_err(|error| error.to_string())?)
            )),
        }
    }

    fn status(&self, name: &str) -> Option<String> {
        let row = self.try_sql(&format!("SHOW STATUS LIKE '{name}'")).ok()?;
        Some(row.split('\t').nth(1)?.to_owned())
    }

    fn is_synced(&self) -> bool {
        self.status("wsrep_local_state_comment").as_deref() == Some("Synced")
    }
}

/// The group, its network and its volumes; all of that goes when it is dropped.
pub(crate) struct Group {
    name: String,
    servers: Vec<Server>,
}

impl Group {
    /// Starts three servers that are one group.
    pub(crate) fn start(test: &str) -> Self {
        let name = format!("galera-sst-{test}-{}", process::id());
        let mut group = Self { name, servers: Vec::new() };
        for number in 0..3 {
            let server = group.server(&group.host(number), &group.hosts(), &[]);
            group.servers.push(server);
        }
        group.wait_synced();
        group
    }

    /// The network, and the beginning of every name in it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A server's host name, which is its name in the group.
    pub(crate) fn host(&self, number: usize) -> String {
        format!("{}-n{}", self.name, number + 1)
    }

    /// All host names, with commas between them.
    pub(crate) fn hosts(&self) -> String {
        [0, 1, 2].map(|number| self.host(number)).join(",")
    }

    fn server(&self, host: &str, peers: &str, mounts: &[Mount]) -> Server {
        let image = GenericImage::new("galera-sst-server", "latest")
            .with_wait_for(WaitFor::Nothing)
            .with_container_name(host)
            .with_hostname(host)
            .with_network(&self.name)
            .with_startup_timeout(START_LIMIT)
            .with_cmd(["/usr/local/lib/galera-sst/node", host, peers]);
        let image = mounts.iter().fold(image, |image, mount| image.with_mount(mount.clone()));
        Server(image.start().expect("start a server"))
    }

    /// Runs a statement on one of them.
    pub(crate) fn sql(&self, number: usize, statement: &str) -> String {
        self.servers[number].sql(statement)
    }

    /// How many members this server sees.
    pub(crate) fn size(&self, number: usize) -> usize {
        let size = self.servers[number].status("wsrep_cluster_size");
        size.and_then(|size| size.parse().ok()).unwrap_or(0)
    }

    /// Is this server Synced?
    pub(crate) fn is_synced(&self, number: usize) -> bool {
        self.servers[number].is_synced()
    }

    /// Waits until all three are Synced and no other member is there.
    pub(crate) fn wait_synced(&self) {
        self.wait_until("three Synced servers and nobody else", || {
            (0..3).all(|number| self.is_synced(number) && self.size(number) == 3)
        });
    }

    /// Waits for something; shows the servers' logs if it does not come.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + START_LIMIT;
        while !is_so() {
            if Instant::now() > deadline {
                for number in 0..3 {
                    eprintln!("===== {} =====\n{}", self.host(number), logs(&self.host(number)));
                }
                panic!("not within {START_LIMIT:?}: {what}");
            }
            thread::sleep(POLL);
        }
    }

    /// Ends a server in order.
    pub(crate) fn stop(&self, number: usize) {
        self.servers[number].0.stop_with_timeout(Some(60)).expect("stop a server");
    }

    /// Ends a server as a loss of power would.
    pub(crate) fn kill(&self, number: usize) {
        docker(&["kill", &self.host(number)]);
    }

    /// Starts a server that was stopped or killed.
    pub(crate) fn restart(&self, number: usize) {
        docker(&["start", &self.host(number)]);
    }

    /// Pulls a container's plug.
    pub(crate) fn disconnect(&self, container: &str) {
        docker(&["network", "disconnect", &self.name, container]);
    }

    /// The volume with the repository.
    pub(crate) fn repository(&self) -> Mount {
        Mount::volume_mount(format!("{}-repository", self.name), "/repository")
    }

    fn tools(&self) -> Mount {
        Mount::volume_mount(format!("{}-tools", self.name), "/tools")
    }

    fn data(&self) -> Mount {
        Mount::volume_mount(format!("{}-data", self.name), "/var/lib/mysql")
    }

    /// What `galera-sst list --output json` says.
    pub(crate) fn backups(&self) -> String {
        let list = ["list", "--from", "file:///repository", "--output", "json"];
        let end = super::Job::start(self, "list", &list, &[]).finish(START_LIMIT);
        assert_eq!(end.code, 0, "{}", end.said);
        end.said.trim().to_owned()
    }

    /// Restores the newest backup on a host of its own, and starts a server there.
    pub(crate) fn restore(&self) -> Server {
        let install = super::Job::start(self, "install", &["install", "/tools"], &[self.tools()]);
        assert_eq!(install.finish(START_LIMIT).code, 0);
        let from = ["--from", "file:///repository", "--to", "/var/lib/mysql"];
        let mut words = vec!["galera-sst", "restore", "--prepare", "--bootstrap"];
        words.extend(from);
        let mounts = [self.tools(), self.repository(), self.data()];
        let image = GenericImage::new("galera-sst-server", "latest");
        let end = super::Job::of(image, self, "prepare", &words, &mounts).finish(START_LIMIT);
        assert_eq!(end.code, 0, "{}", end.said);
        let host = format!("{}-restored", self.name);
        let server = self.server(&host, &host, &[self.data()]);
        self.wait_until("the restored server is Synced", || server.is_synced());
        server
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.servers.clear();
        for volume in ["repository", "tools", "data"] {
            let volume = format!("{}-{volume}", self.name);
            // One that was never made is no loss, nor one that another container still has.
            let _ = Command::new("docker").args(["volume", "rm", &volume]).output();
        }
    }
}

/// Runs Docker's client, for what the library has no call for.
pub(crate) fn docker(words: &[&str]) -> String {
    let output = Command::new("docker").args(words).output().expect("run docker");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn logs(container: &str) -> String {
    let output = Command::new("docker").args(["logs", "--tail", "30", container]).output();
    output.map_or_else(
        |error| error.to_string(),
        |output| {
            let [out, err] = [output.stdout, output.stderr];
            String::from_utf8_lossy(&[out, err].concat()).into_owned()
        },
    )
}
