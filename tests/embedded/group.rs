//! A running `galera-sst donate`, and jobs against it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Below the ports that the kernel gives away, beside those of the tests with servers.
const RANGE: std::ops::Range<u16> = 15_400..15_700;
const BLOCK: u16 = 10;

/// A block of ports on the loopback interface; a listener on the first one keeps others off.
pub(crate) struct Ports {
    guard: TcpListener,
}

impl Ports {
    pub(crate) fn reserve() -> Self {
        let free = |base| {
            let guard = listen(base)?;
            (1..BLOCK).all(|offset| listen(base + offset).is_some()).then_some(Self { guard })
        };
        RANGE.step_by(usize::from(BLOCK)).find_map(free).expect("no free block of ports")
    }

    /// One of its ports, 1 to 9.
    pub(crate) fn at(&self, offset: u16) -> u16 {
        self.guard.local_addr().expect("a listener has an address").port() + offset
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

/// A group of three that serves.
pub(crate) struct Donate {
    child: Child,
    address: String,
    ports: Ports,
}

impl Donate {
    /// Waits until the group is there.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let ports = Ports::reserve();
        let listen = format!("127.0.0.1:{}", ports.at(1));
        let mut child = command("donate")
            .args(["--group-of", "3", "--listen", &listen, "--pause", "0.1"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start galera-sst donate");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address).expect("the group's address");
        assert!(address.starts_with("gcomm://127.0.0.1:"), "no group: {address:?}");
        Self { child, address: address.trim().to_owned(), ports }
    }

    /// A backup of the group, to its end.
    pub(crate) fn backup(&self, to: &str, more: &[&str]) -> Output {
        let listen = format!("127.0.0.1:{}", self.ports.at(5));
        let group = format!("gmcast.listen_addr=tcp://127.0.0.1:{}", self.ports.at(6));
        command("backup")
            .args(["--address", &self.address, "--group", "donate", "--to", to])
            .args(["--listen", &listen, "--options", &group])
            .args(more)
            .output()
            .expect("run galera-sst backup")
    }

    /// Asks it to end; its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Donate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Any command, to its end.
pub(crate) fn galera_sst(arguments: &[&str]) -> Output {
    let (name, arguments) = arguments.split_first().expect("a command");
    command(name).args(arguments).output().expect("run galera-sst")
}

/// What a repository lists.
pub(crate) fn list(repository: &str) -> String {
    text(&galera_sst(&["list", "--from", repository]).stdout)
}

/// Its exit code.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn command(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALERA_SST_") {
            command.env_remove(name);
        }
    }
    command.arg(name);
    command
}
