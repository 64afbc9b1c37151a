//! The listening sockets and the options of what they accept.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::{debug, info};

/// The port that SST scripts use when the request names none.
const DEFAULT_PORT: u16 = 4444;

/// Connections that the system queues for us. A donor needs one at a time; probes come on top.
const BACKLOG: i32 = 16;

/// Where donors may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// All addresses, IPv4 and, where the host has it, IPv6.
    Everywhere {
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// These addresses only.
    On(Vec<SocketAddr>),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Everywhere { port: DEFAULT_PORT }
    }
}

/// The unspecified IPv4 address brings its IPv6 twin along.
impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        if address.ip() == Ipv4Addr::UNSPECIFIED {
            Self::Everywhere { port: address.port() }
        } else {
            Self::On(vec![address])
        }
    }
}

/// Options of the donor's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// Kernel buffer wanted for each connection, in bytes; `None` lets the system size it as it
    /// goes. What the system does not grant is not set: a smaller fixed buffer would be slower.
    pub receive_buffer_bytes: Option<usize>,
}

/// A listening socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen for the donor on {address}{}", remedy(source.kind()))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What to try next, by what the system said.
const REMEDIES: [(io::ErrorKind, &str); 3] = [
    (
        io::ErrorKind::AddrInUse,
        ": the port is taken (by a receiver that still runs, or by the group's own listener?), \
         choose another one with --listen",
    ),
    (
        io::ErrorKind::PermissionDenied,
        ": ports below 1024 need privileges, choose another one with --listen",
    ),
    (
        io::ErrorKind::AddrNotAvailable,
        ": this host does not have the address, choose one that it has with --listen",
    ),
];

fn remedy(kind: io::ErrorKind) -> &'static str {
    let known = REMEDIES.iter().find(|(cause, _)| *cause == kind);
    known.map_or("", |(_, remedy)| remedy)
}

/// Opens all sockets of `listen`, or none.
pub(super) fn bind(
    listen: &Listen,
    options: &SocketOptions,
) -> Result<Vec<TcpListener>, BindError> {
    let sockets = match listen {
        Listen::Everywhere { port } => bind_everywhere(*port, options)?,
        Listen::On(addresses) => addresses
            .iter()
            .map(|address| bind_one(*address, options))
            .collect::<Result<Vec<_>, _>>()?,
    };
    for socket in &sockets {
        if let Ok(address) = socket.local_addr() {
            info!(%address, "listening for the donor");
        }
    }
    Ok(sockets)
}

fn bind_everywhere(port: u16, options: &SocketOptions) -> Result<Vec<TcpListener>, BindError> {
    let first = bind_one((Ipv4Addr::UNSPECIFIED, port).into(), options)?;
    let port = first.local_addr().map_or(port, |address| address.port());
    match bind_one((Ipv6Addr::UNSPECIFIED, port).into(), options) {
        Ok(twin) => Ok(vec![first, twin]),
        Err(error) if has_no_ipv6(&error.source) => {
            debug!(%error, "no IPv6 on this host");
            Ok(vec![first])
        }
        Err(error) => Err(error),
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_one(address: SocketAddr, options: &SocketOptions) -> Result<TcpListener, BindError> {
    open(address, options).map_err(|source| BindError { address, source })
}

fn open(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = new_socket(address)?;
    if let Some(bytes) = options.receive_buffer_bytes {
        set_receive_buffer(&socket, address, bytes)?;
    }
    if address.is_ipv6() {
        // The IPv4 twin has a socket of its own, so that each can be absent.
        socket.set_only_v6(true)?;
    }
    // A receiver that starts right after another one must not trip over its closing connections.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

/// Accepted connections inherit the buffer, and only a buffer known at the handshake widens the
/// window. Setting one switches automatic sizing off for good, so a scratch socket tries it first.
fn set_receive_buffer(socket: &Socket, address: SocketAddr, bytes: usize) -> io::Result<()> {
    let scratch = new_socket(address)?;
    scratch.set_recv_buffer_size(bytes)?;
    let granted = scratch.recv_buffer_size()?;
    if granted < bytes {
        debug!(wanted = bytes, granted, "receive buffer is left to the system");
        return Ok(());
    }
    socket.set_recv_buffer_size(bytes)
}
