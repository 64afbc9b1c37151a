//! The built binary, as a user runs it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    cluster::Cluster,
    ports::Ports,
    process::{self, Process},
    wait,
};

const MEMORY_POLL: Duration = Duration::from_millis(20);

/// A command line of `galera-sst` in the making.
pub(crate) struct Job {
    arguments: Vec<String>,
    ports: Vec<Ports>,
    environment: Vec<(String, String)>,
    wrapper: Option<String>,
}

impl Job {
    /// `galera-sst COMMAND`.
    pub(crate) fn new(command: &str) -> Self {
        Self {
            arguments: vec![command.to_owned()],
            ports: Vec::new(),
            environment: Vec::new(),
            wrapper: None,
        }
    }

    /// `galera-sst backup` as a member of this cluster's group, on ports of its own.
    pub(crate) fn backup(cluster: &Cluster, to: &str) -> Self {
        Self::backup_of(&cluster.peers(), cluster.group(), to)
    }

    /// `galera-sst backup` of some group.
    pub(crate) fn backup_of(peers: &str, group: &str, to: &str) -> Self {
        let ports = Ports::reserve();
        let mut job = Self::new("backup")
            .flag("--address", &format!("gcomm://{peers}"))
            .flag("--group", group)
            .flag("--to", to)
            .flag("--method", "mariabackup")
            .flag("--listen", &ports.address(1))
            .flag("--options", &format!("gmcast.listen_addr=tcp://{}", ports.address(2)))
            .flag("--output", "json");
        job.ports.push(ports);
        job
    }

    /// A command that joins this cluster's group, on a port of its own.
    pub(crate) fn member(command: &str, cluster: &Cluster) -> Self {
        let ports = Ports::reserve();
        let mut job = Self::new(command)
            .flag("--address", &format!("gcomm://{}", cluster.peers()))
            .flag("--group", cluster.group())
            .flag("--options", &format!("gmcast.listen_addr=tcp://{}", ports.address(2)));
        job.ports.push(ports);
        job
    }

    /// Sets an environment variable.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `galera-sst restore`.
    pub(crate) fn restore(from: &str, to: &Path) -> Self {
        Self::new("restore").flag("--from", from).flag("--to", &to.display().to_string())
    }

    /// Adds `--name value`; the last one of a name counts.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        if let Some(at) = self.arguments.iter().position(|argument| argument == name) {
            self.arguments[at + 1] = value.to_owned();
        } else {
            self.arguments.extend([name.to_owned(), value.to_owned()]);
        }
        self
    }

    /// Adds one of Galera's options to those that the job has.
    pub(crate) fn option(mut self, option: &str) -> Self {
        let at = self.arguments.iter().position(|argument| argument == "--options");
        let at = at.expect("the job is a member of a group");
        self.arguments[at + 1].push_str(&format!(";{option}"));
        self
    }

    /// Keeps these ports for it until it has ended.
    pub(crate) fn holding(mut self, ports: Ports) -> Self {
        self.ports.push(ports);
        self
    }

    /// Adds `--name`.
    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// Runs it as `"$@"` of a shell script.
    pub(crate) fn within(mut self, script: &str) -> Self {
        self.wrapper = Some(script.to_owned());
        self
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        let binary = env!("CARGO_BIN_EXE_galera-sst");
        let mut command = match &self.wrapper {
            None => process::command(binary),
            Some(script) => {
                let mut shell = process::command("bash");
                shell.args(["-c", script, "galera-sst", binary]);
                shell
            }
        };
        command.envs(self.environment);
        command.args(&self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut process = Process::spawn_as_set_up("galera-sst", &mut command);
        let id = process.id();
        let child = process.child();
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let talk = Arc::new(Mutex::new(String::new()));
        Running {
            process,
            started,
            listener: Listener::spawn(stderr, &talk),
            talk,
            data: thread::spawn(move || read_all(stdout)),
            memory: thread::spawn(move || watch_memory(id)),
            _ports: self.ports,
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(self, limit: Duration) -> Outcome {
        self.start().finish(limit)
    }
}

/// A run of the binary.
pub(crate) struct Running {
    process: Process,
    started: Instant,
    talk: Arc<Mutex<String>>,
    listener: Listener,
    data: JoinHandle<String>,
    memory: JoinHandle<u64>,
    _ports: Vec<Ports>,
}

impl Running {
    /// Waits until it has said on standard error that it reached this phase.
    pub(crate) fn wait_phase(&mut self, phase: &str, limit: Duration) {
        wait::until_true(&format!("phase {phase}"), limit, || {
            let reached = has_phase(&self.talk(), phase);
            assert!(
                reached || self.process.is_running() || has_phase(&self.talk(), phase),
                "galera-sst ended before phase {phase}:\n{}",
                self.talk()
            );
            reached
        });
    }

    /// What it said on standard error so far.
    pub(crate) fn talk(&self) -> String {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self, limit: Duration) -> Outcome {
        let deadline = Instant::now() + limit;
        while self.process.is_running() {
            assert!(Instant::now() < deadline, "not done in {limit:?}; it said:\n{}", self.talk());
            thread::sleep(Duration::from_millis(5));
        }
        let status = self.process.wait(limit);
        self.listener.join();
        Outcome {
            code: status.code(),
            stdout: self.data.join().expect("standard output was read"),
            stderr: self.talk.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            peak_kib: self.memory.join().expect("memory was watched"),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// What it answered.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
    /// Peak resident memory.
    pub(crate) peak_kib: u64,
}

impl Outcome {
    /// Fails unless the exit code is one of these; shows what was said.
    pub(crate) fn expect(self, codes: &[i32]) -> Self {
        assert!(
            self.code.is_some_and(|code| codes.contains(&code)),
            "exit code {:?}, expected one of {codes:?}\nstdout: {}\nstderr: {}",
            self.code,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless it said in a sentence what failed, and that mentions one of `words`.
    pub(crate) fn expect_sentence(self, words: &[&str]) -> Self {
        let sentence = self.stderr.lines().rev().find(|line| line.starts_with("galera-sst: "));
        let sentence = sentence.unwrap_or_default().to_lowercase();
        assert!(
            words.iter().any(|word| sentence.contains(&word.to_lowercase())),
            "its last sentence mentions none of {words:?}:\n{}",
            self.stderr
        );
        assert!(!self.stderr.contains("panicked"), "it panicked:\n{}", self.stderr);
        self
    }

    /// The JSON document on standard output.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.stdout))
    }

    /// Whether it said that it reached a phase.
    pub(crate) fn reached(&self, phase: &str) -> bool {
        has_phase(&self.stderr, phase)
    }
}

fn has_phase(talk: &str, phase: &str) -> bool {
    talk.lines().any(|line| {
        line.split_once("phase: ")
            .is_some_and(|(_, rest)| rest.split(|c: char| !c.is_alphabetic()).next() == Some(phase))
    })
}

/// The thread that reads standard error line by line.
struct Listener(JoinHandle<()>);

impl Listener {
    fn spawn(stderr: impl Read + Send + 'static, talk: &Arc<Mutex<String>>) -> Self {
        let talk = Arc::clone(talk);
        Self(thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut talk = talk.lock().unwrap_or_else(PoisonError::into_inner);
                talk.push_str(&line);
                talk.push('\n');
            }
        }))
    }

    fn join(self) {
        self.0.join().expect("standard error was read");
    }
}

fn read_all(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("read standard output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Follows the kernel's own high-water mark until the process has ended.
fn watch_memory(id: u32) -> u64 {
    let mut peak = 0;
    while let Some(kib) = peak_kib(id) {
        peak = peak.max(kib);
        thread::sleep(MEMORY_POLL);
    }
    peak
}

fn peak_kib(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
