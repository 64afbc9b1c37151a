//! Percona's dialect, by the built binary: `receive` from a donor that plays a generation of it, `restore`
//! with a stand-in for that generation's backup tool.
//!
//! The donor and the tool are scripts of `tests/support/donor`; what they refuse, the originals refuse.

mod generations;
mod operator;
mod stash;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::certificates::{Authority, Version};

/// Where the donor says it stands, and the state's UUID.
const GTID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f:39";

/// Longest a test waits for a process.
const PATIENCE: Duration = Duration::from_secs(60);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/donor").join(name)
}

/// One test's directory, donor and receiver.
struct Scene {
    directory: TempDir,
    donor: Value,
    listen: &'static str,
    receive: Vec<String>,
}

/// How a transfer ended on both sides.
struct Ended {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
    donor: Option<i32>,
}

impl Scene {
    /// A donor of this generation, and a receiver into a repository.
    fn new(generation: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let donor = json!({ "generation": generation, "pause": 0 });
        let mut scene = Self { directory, donor, listen: "127.0.0.1:0", receive: Vec::new() };
        let repository = scene.repository();
        scene = scene.receive(&["--to", &repository, "--settle", "0", "--output", "json"]);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn repository(&self) -> String {
        format!("file://{}", self.path("repository").display())
    }

    /// An option of the donor.
    fn donor(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.donor[name] = value.into();
        self
    }

    /// Arguments of `receive`; one that is there already gets another value.
    fn receive(mut self, arguments: &[&str]) -> Self {
        for pair in arguments.chunks(2) {
            match self.receive.iter().position(|known| known == pair[0]) {
                Some(at) if pair.len() == 2 => self.receive[at + 1] = pair[1].to_owned(),
                Some(_) | None => self.receive.extend(pair.iter().map(ToString::to_string)),
            }
        }
        self
    }

    /// Both sides use `encrypt=…` with certificates of one authority.
    fn encrypted(self, mode: u8) -> Self {
        let authority = Authority::new("ca");
        let ca = self.path("ca.pem");
        authority.write(&ca);
        let donor = authority.issue(self.directory.path(), "donor", Version::V3);
        let receiver = authority.issue(self.directory.path(), "receiver", Version::V1);
        let text = |path: &Path| std::fs::read_to_string(path).expect("a file of certificates");
        let pem = self.path("donor.pem");
        std::fs::write(&pem, text(&donor.key) + &text(&donor.certificate)).expect("writes");
        let shown = |path: &Path| path.display().to_string();
        let cert = if mode == 2 { shown(&pem) } else { shown(&donor.certificate) };
        let trust = if mode == 3 { "required" } else { "verify-ca" };
        let (certificate, key, ca) =
            (shown(&receiver.certificate), shown(&receiver.key), shown(&ca));
        self.donor("encrypt", mode)
            .donor("cert", cert)
            .donor("private", shown(&donor.key))
            .donor("ca", ca.as_str())
            .receive(&["--ssl-cert", &certificate, "--ssl-key", &key, "--ssl-ca", &ca])
            .receive(&["--sst-tls", trust])
    }

    /// Lets both run to their ends.
    fn run(&self) -> Ended {
        self.start().finish()
    }

    /// Starts the receiver, and the donor once it listens.
    fn start(&self) -> Running {
        let mut receiver = galera_sst("receive")
            .args(["--listen", self.listen])
            .args(&self.receive)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run galera-sst");
        let mut talk = BufReader::new(receiver.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let count = talk.read_line(&mut line).expect("read the talk");
            said.push_str(&line);
            if let Some((_, address)) = line.split_once("phase: waiting (") {
                break Some(address.trim_end().trim_end_matches(')').to_owned());
            }
            if count == 0 {
                break None;
            }
        };
        let donor = address.as_deref().map(|address| self.start_donor(address));
        let talk = std::thread::spawn(move || {
            talk.read_to_string(&mut said).expect("read the talk");
            said
        });
        let mut stdout = receiver.stdout.take().expect("a pipe");
        let data = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).expect("read the data");
            bytes
        });
        Running { receiver, donor, talk, data, address }
    }

    fn start_donor(&self, address: &str) -> Child {
        let options = self.path("donor.json");
        std::fs::write(&options, self.donor.to_string()).expect("writes");
        Command::new(script("wsrep_sst_xtrabackup-v2"))
            .args(["--role", "donor", "--address", &format!("{address}/xtrabackup_sst//1")])
            .args(["--gtid", GTID])
            .env("GALERA_SST_TEST_DONOR", options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("run the donor")
    }

    /// `restore --prepare` of the latest backup by the tool of that version.
    fn restore(&self, version: &str, arguments: &[&str]) -> Output {
        let from = self.repository();
        galera_sst("restore")
            .args(["--from", &from, "--to"])
            .arg(self.path("data"))
            .args(["--prepare", "--bootstrap", "--prepare-tool"])
            .arg(script("xtrabackup"))
            .args(arguments)
            .env("XTRABACKUP_VERSION", version)
            .output()
            .expect("run galera-sst")
    }

    /// What the donor's data directory holds, by name.
    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let mut plain = self.donor.clone();
        for option in ["streamfmt", "compress", "encrypt", "compressor"] {
            plain.as_object_mut().expect("an object").remove(option);
        }
        let options = self.path("plain.json");
        std::fs::write(&options, plain.to_string()).expect("writes");
        let place = self.path("content");
        // A scene may be run more than once.
        std::fs::remove_dir_all(&place).ok();
        std::fs::create_dir_all(&place).expect("makes a directory");
        let mut donor = Command::new(script("wsrep_sst_xtrabackup-v2"))
            .arg("--generate")
            .env("GALERA_SST_TEST_DONOR", options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("run the donor");
        let status = galera_sst("xbstream")
            .args(["extract", "--directory"])
            .arg(&place)
            .stdin(donor.stdout.take().expect("a pipe"))
            .status();
        assert!(status.expect("run galera-sst").success() && donor.wait().expect("ends").success());
        files_below(&place)
    }
}

/// A transfer under way.
struct Running {
    receiver: Child,
    donor: Option<Child>,
    talk: std::thread::JoinHandle<String>,
    data: std::thread::JoinHandle<Vec<u8>>,
    address: Option<String>,
}

impl Running {
    fn finish(mut self) -> Ended {
        let code = wait(&mut self.receiver);
        let donor = self.donor.as_mut().map(wait).unwrap_or_default();
        let (stdout, stderr) = (self.data.join().expect("read"), self.talk.join().expect("read"));
        Ended { code, stdout, stderr, donor }
    }

    /// Asks the receiver to stop.
    fn terminate(&self) {
        let id = i32::try_from(self.receiver.id()).expect("a process id");
        let id = rustix::process::Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
    }
}

impl Ended {
    fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in:\n{}", self.stderr);
        }
        self
    }

    fn manifest(&self) -> Value {
        let answer: Value = serde_json::from_slice(&self.stdout).expect("a JSON answer");
        answer["manifest"].clone()
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    let limit = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            return status.code();
        }
        if Instant::now() > limit {
            child.kill().expect("kill a child");
            panic!("a process did not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn galera_sst(command: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    program.arg(command).stdin(Stdio::null());
    program
}

fn files_below(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut directories) = (BTreeMap::new(), vec![place.to_path_buf()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(place).expect("below").display().to_string();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}
