//! Servers from the packages of this machine, as processes on the loopback interface.

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    fault::{self, Fault},
    ports::{Network, Ports},
    process::Process,
    seed,
    server::{Provider, Server, Start},
    wait::seconds,
};

const PROVIDER_LIBRARIES: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib/galera-4/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
];

/// Makes servers of one group below one directory.
pub(crate) struct LocalServers {
    group: String,
    directory: PathBuf,
}

impl LocalServers {
    /// Servers of `group`, each with a directory of its own below `directory`.
    pub(crate) fn new(group: &str, directory: &Path) -> Self {
        Self { group: group.to_owned(), directory: directory.to_owned() }
    }

    fn place(&self, name: &str) -> PathBuf {
        let place = self.directory.join(name);
        fs::create_dir_all(&place).expect("make a node's directory");
        place
    }
}

impl Provider for LocalServers {
    type Server = LocalServer;

    fn create(&self, name: &str) -> LocalServer {
        let place = self.place(name);
        let data = place.join("data");
        seed::copy_to(&data);
        LocalServer::new(name, &self.group, &place, data)
    }

    fn adopt(&self, name: &str, data_directory: &Path) -> LocalServer {
        LocalServer::new(name, &self.group, &self.place(name), data_directory.to_owned())
    }
}

/// One server process and what belongs to it.
pub(crate) struct LocalServer {
    name: String,
    group: String,
    place: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    network: Network,
    process: Option<Process>,
    starts: usize,
    settings: Vec<String>,
    provider_options: String,
    transfer_settings: Vec<String>,
    is_ipv6: bool,
}

impl LocalServer {
    /// A server on `data`; its log, socket and settings go to `place`.
    pub(crate) fn new(name: &str, group: &str, place: &Path, data: PathBuf) -> Self {
        Self::within(Network::Loopback(Ports::reserve()), name, group, place, data)
    }

    /// As [`LocalServer::new`], in some network.
    pub(crate) fn within(
        network: Network,
        name: &str,
        group: &str,
        place: &Path,
        data: PathBuf,
    ) -> Self {
        let server = Self {
            name: name.to_owned(),
            group: group.to_owned(),
            place: place.to_owned(),
            data,
            socket: place.join("socket"),
            network,
            process: None,
            starts: 0,
            settings: Vec::new(),
            provider_options: String::new(),
            transfer_settings: Vec::new(),
            is_ipv6: false,
        };
        fs::create_dir_all(server.place.join("tmp")).expect("make a node's directory");
        make_base_directory(&server.place);
        server.set_fault(Fault::None);
        server
    }

    /// What kind of Percona server it plays as donor, from its next transfer on.
    pub(crate) fn play_percona(&self, options: &serde_json::Value) {
        fs::write(self.percona_file(), options.to_string()).expect("write a donor's options");
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&mut self, signal: rustix::process::Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Adds a line to the server's settings, for its next start.
    pub(crate) fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// Adds provider options (`key=value;…`), for its next start.
    pub(crate) fn set_provider(&mut self, options: &str) {
        self.provider_options.push(';');
        self.provider_options.push_str(options);
    }

    /// Everything that it listens on and tells is IPv6, from its next start on.
    pub(crate) fn use_ipv6(&mut self) {
        self.is_ipv6 = true;
    }

    /// An address as this server has it, from how the ports are written.
    fn own(&self, text: &str) -> String {
        if self.is_ipv6 { text.replace("127.0.0.1", "[::1]") } else { text.to_owned() }
    }

    /// Replaces what its state transfers are told in `[sst]`; counts from the next transfer on.
    pub(crate) fn set_transfer(&mut self, lines: &[String]) {
        self.transfer_settings = lines.to_vec();
        if self.process.is_some() {
            let file = self.place.join("my.cnf");
            let text = fs::read_to_string(&file).expect("read a server's settings");
            let (server, _) = text.split_once("[sst]\n").expect("a section for transfers");
            let text = format!("{server}{}", self.transfer_section());
            fs::write(&file, text).expect("write a server's settings");
        }
    }

    fn transfer_section(&self) -> String {
        let lines = ["[sst]", "sst-log-archive=0"].into_iter();
        let lines = lines.chain(self.transfer_settings.iter().map(String::as_str));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.place.join("error.log")
    }

    fn write_settings(&self, start: &Start) -> PathBuf {
        let peers = match start {
            Start::Bootstrap => "",
            Start::Join(peers) => peers,
        };
        let file = self.place.join("my.cnf");
        fs::write(&file, self.settings(peers)).expect("write a server's settings");
        file
    }

    fn settings(&self, peers: &str) -> String {
        let network = &self.network;
        let mut text = format!(
            "[mysqld]\n\
             basedir={place}\ndatadir={data}\nsocket={socket}\npid-file={place}/pid\ntmpdir={place}/tmp\n\
             log-error={log}\nbind-address={host}\nport={sql}\nskip-name-resolve\n\
             innodb-buffer-pool-size=64M\ninnodb-log-file-size=96M\n\
             innodb-flush-log-at-trx-commit=2\nmax-connections=40\n\
             binlog-format=ROW\ninnodb-autoinc-lock-mode=2\ndefault-storage-engine=InnoDB\n\
             wsrep-on=ON\nwsrep-provider={library}\n\
             wsrep-cluster-name={group}\nwsrep-cluster-address=gcomm://{peers}\n\
             wsrep-node-name={name}\nwsrep-node-address={link}\n\
             wsrep-node-incoming-address={host}:{sql}\n\
             wsrep-sst-method=mariabackup\nwsrep-sst-auth=root:\n\
             wsrep-sst-receive-address={sst}\n\
             wsrep-provider-options=\"gmcast.listen_addr=tcp://{link};base_port={link_port};\
             ist.recv_addr={ist};gcache.size=64M{options}\"\n",
            options = self.provider_options,
            data = self.data.display(),
            socket = self.socket.display(),
            place = self.place.display(),
            log = self.log_file().display(),
            host = network.host(),
            sql = network.at(1),
            library = provider_library(),
            group = self.group,
            name = self.name,
            link = network.address(2),
            link_port = network.at(2),
            ist = network.address(3),
            sst = network.address(4),
        );
        // A server that runs as root wants to be told so.
        writeln!(text, "user={}", seed::user()).expect("write to a string");
        for setting in &self.settings {
            writeln!(text, "{setting}").expect("write to a string");
        }
        text.push_str(&self.transfer_section());
        // The only setting that wants a bare address.
        self.own(&text).replace("bind-address=[::1]", "bind-address=::1")
    }

    fn percona_file(&self) -> PathBuf {
        self.place.join("donor.json")
    }

    fn fault_file(&self) -> PathBuf {
        self.place.join("fault")
    }
}

impl Server for LocalServer {
    fn name(&self) -> &str {
        &self.name
    }

    fn group_address(&self) -> String {
        self.own(&self.network.address(2))
    }

    fn start(&mut self, start: &Start) {
        let settings = self.write_settings(start);
        let mut command = self.network.command(server_program());
        command.arg(format!("--defaults-file={}", settings.display()));
        if let Start::Bootstrap = start {
            command.arg("--wsrep-new-cluster");
        }
        let path = env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("TMPDIR", self.place.join("tmp"))
            .env("GALERA_SST_TEST_FAULT", self.fault_file())
            .env("GALERA_SST_TEST_DONOR", self.percona_file())
            .env("GALERA_SST_TEST_OFFSET", fault::OFFSET_BYTES.to_string())
            .env("GALERA_SST_TEST_DONOR_PAUSE", "1");
        self.process = Some(Process::spawn(&self.name, &mut command, &self.log_file()));
        self.starts += 1;
    }

    fn kill(&mut self) {
        self.process.take();
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(seconds(60));
        }
    }

    fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    fn starts(&self) -> usize {
        self.starts
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn data_directory(&self) -> &Path {
        &self.data
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn set_fault(&self, fault: Fault) {
        fs::remove_file(fault::reached_file(&self.fault_file())).ok();
        fs::write(self.fault_file(), fault.word()).expect("write a fault");
    }

    fn has_fault_struck(&self) -> bool {
        fault::reached_file(&self.fault_file()).exists()
    }
}

/// A server looks for the programs that it runs in `bin` of its base directory first: there the
/// donor scripts stand that can go wrong. The rest of it is the packaged one.
fn make_base_directory(place: &Path) {
    fault::install_scripts(&place.join("bin"));
    for name in ["share", "lib"] {
        let link = place.join(name);
        if !link.exists() {
            symlink(Path::new("/usr").join(name), link).expect("link to the packaged files");
        }
    }
}

/// The packaged server, which lies where a user's search path may not look.
pub(crate) fn server_program() -> &'static Path {
    let program = Path::new("/usr/sbin/mariadbd");
    assert!(program.exists(), "no MariaDB server here: run scripts/install-deps first");
    program
}

fn provider_library() -> &'static str {
    PROVIDER_LIBRARIES
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("no Galera library here: run scripts/install-deps first")
}
