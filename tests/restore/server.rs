//! One MariaDB Galera node on loopback, with its data below a test's directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(120);

/// First of the ports that tests use.
pub(crate) fn port_base() -> u16 {
    std::env::var("RESTORE_TEST_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(15600)
}

/// A node's configuration.
pub(crate) struct Server {
    directory: PathBuf,
    name: String,
    base: u16,
}

/// A running node; shut down when dropped.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        // It may have ended by itself; then there is nothing to stop.
        let stopped = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = self.0.wait();
        assert!(stopped.is_err() || ended.is_ok(), "a server goes on running");
    }
}

impl Server {
    /// Makes a fresh data directory.
    pub(crate) fn install(directory: &Path, name: &str, base: u16) -> Self {
        let server = Self::restored(directory, name, base, None);
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", server.place("").display()))
            .arg(format!("--user={}", user()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(installed.expect("runs mariadb-install-db").success());
        server
    }

    /// Takes the data directory `name` that is there; joins `peer` if there is one.
    pub(crate) fn restored(directory: &Path, name: &str, base: u16, peer: Option<&Self>) -> Self {
        let server = Self { directory: directory.to_path_buf(), name: name.into(), base };
        let address = peer.map(|peer| format!("127.0.0.1:{}", peer.base + 7)).unwrap_or_default();
        std::fs::write(server.place(".cnf"), server.settings(&address)).expect("writes");
        server
    }

    fn settings(&self, address: &str) -> String {
        let Self { base, name, .. } = self;
        let place = |suffix| self.place(suffix).display().to_string();
        format!(
            "[mysqld]\ndatadir={}\nsocket={}\nlog-error={}\npid-file={}\nport={}\nuser={}\n\
             bind-address=127.0.0.1\nbinlog-format=ROW\ninnodb-autoinc-lock-mode=2\n\
             innodb-buffer-pool-size=64M\nwsrep-on=ON\nwsrep-provider={}\n\
             wsrep-cluster-name=restore-test\nwsrep-cluster-address=gcomm://{address}\n\
             wsrep-node-name={name}\nwsrep-node-address=127.0.0.1:{}\nwsrep-sst-method=mariabackup\n\
             wsrep-provider-options=\"gmcast.listen_addr=tcp://127.0.0.1:{};base_port={};\
             ist.recv_addr=127.0.0.1:{};gcache.size=16M\"\n",
            place(""),
            place(".sock"),
            place(".log"),
            place(".pid"),
            base + 6,
            user(),
            provider(),
            base + 7,
            base + 7,
            base + 7,
            base + 8,
        )
    }

    fn place(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}{suffix}", self.name))
    }

    /// Starts it and waits until it is synced.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let child = Command::new("mariadbd")
            .arg(format!("--defaults-file={}", self.place(".cnf").display()))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Running(child.expect("runs mariadbd"));
        let deadline = Instant::now() + START_LIMIT;
        while self.try_sql("show status like 'wsrep_ready'").as_deref() != Some("wsrep_ready\tON") {
            let ended = running.0.try_wait().expect("a child");
            let is_late = Instant::now() > deadline;
            assert!(ended.is_none() && !is_late, "{} does not start:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        running
    }

    /// Begins a backup into a file.
    pub(crate) fn backup_to(&self, stream: &Path) -> Child {
        Command::new("mariadb-backup")
            .arg(format!("--defaults-file={}", self.place(".cnf").display()))
            .args(["--backup", "--stream=xbstream", "--galera-info", "--user=root"])
            .arg(format!("--socket={}", self.place(".sock").display()))
            .arg(format!("--target-dir={}", self.place(".backup").display()))
            .stdout(File::create(stream).expect("creates"))
            .stderr(File::create(self.place(".backup.log")).expect("creates"))
            .spawn()
            .expect("runs mariadb-backup")
    }

    /// Runs statements; gives the answer without header.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(statements).unwrap_or_else(|| panic!("{statements} failed"))
    }

    fn try_sql(&self, statements: &str) -> Option<String> {
        let socket = format!("--socket={}", self.place(".sock").display());
        let answer = Command::new("mariadb")
            .args(["--no-defaults", &socket, "-uroot", "-BN", "-e", statements])
            .output()
            .expect("runs mariadb");
        let text = String::from_utf8(answer.stdout).expect("UTF-8").trim().replace("shop.", "");
        answer.status.success().then_some(text)
    }

    /// One of the server's status values.
    pub(crate) fn status(&self, name: &str) -> String {
        let answer = self.sql(&format!("show status like '{name}'"));
        answer.split('\t').next_back().unwrap_or_default().to_owned()
    }

    /// What the server wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place(".log")).unwrap_or_default()
    }
}

fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "root".into())
}

fn provider() -> &'static str {
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("Galera's library")
}
