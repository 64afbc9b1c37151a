//! Ports that no other test, and nothing else on the machine, uses.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use super::process;

/// Blocks are taken from here: below the range that the kernel gives to outgoing connections.
const RANGE: std::ops::Range<u16> = 15_700..16_000;
const BLOCK: u16 = 10;

/// A block of ports on the loopback interface.
///
/// A listener on the block's first port keeps it from everybody who asks the same way, in this
/// process or another, and goes with the process whatever ends it.
pub(crate) struct Ports {
    guard: TcpListener,
}

impl Ports {
    /// Takes a free block.
    pub(crate) fn reserve() -> Self {
        RANGE
            .step_by(usize::from(BLOCK))
            .find_map(Self::take)
            .expect("no free block of ports between 15700 and 15999")
    }

    fn take(base: u16) -> Option<Self> {
        let guard = listen(base)?;
        (1..BLOCK).all(|offset| listen(base + offset).is_some()).then_some(Self { guard })
    }

    /// One of the block's ports, 1 to 9.
    pub(crate) fn at(&self, offset: u16) -> u16 {
        assert!((1..BLOCK).contains(&offset), "a block has ports 1 to 9");
        self.guard.local_addr().expect("a listener has an address").port() + offset
    }

    /// One of the block's ports as `127.0.0.1:PORT`.
    pub(crate) fn address(&self, offset: u16) -> String {
        format!("127.0.0.1:{}", self.at(offset))
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

/// Where a server lives: on the loopback interface with ports of its own, or alone in a network
/// namespace.
pub(crate) enum Network {
    /// Beside all others.
    Loopback(Ports),
    /// By itself.
    Namespace {
        /// The namespace's name.
        name: String,
        /// Its address on the network that the namespaces share.
        host: Ipv4Addr,
    },
}

impl Network {
    /// One of nine ports, 1 to 9.
    pub(crate) fn at(&self, offset: u16) -> u16 {
        match self {
            Self::Loopback(ports) => ports.at(offset),
            Self::Namespace { .. } => RANGE.start + offset,
        }
    }

    /// The address that the others reach.
    pub(crate) fn host(&self) -> Ipv4Addr {
        match self {
            Self::Loopback(_) => Ipv4Addr::LOCALHOST,
            Self::Namespace { host, .. } => *host,
        }
    }

    /// One of the ports as `HOST:PORT`.
    pub(crate) fn address(&self, offset: u16) -> String {
        format!("{}:{}", self.host(), self.at(offset))
    }

    /// A command that runs there and is killed by the kernel when the calling thread ends.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Loopback(_) => process::command(program),
            Self::Namespace { name, .. } => {
                let mut command = process::command("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        }
    }
}
