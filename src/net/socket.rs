//! TCP sockets with the options that every connection of ours has.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Probes begin after this much silence and find a dead peer within about a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 4;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// What a connection is for decides how patient its socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Unacknowledged data older than this ends the connection (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Receive buffer in bytes; `None` leaves it to the system.
    pub receive_buffer_bytes: Option<usize>,
}

impl Options {
    /// For links between members: the protocol's own timers are much shorter.
    pub const LINK: Self =
        Self { user_timeout: Duration::from_secs(15), receive_buffer_bytes: None };

    /// For the donor's connections.
    pub const TRANSFER: Self =
        Self { user_timeout: Duration::from_secs(60), receive_buffer_bytes: None };

    /// Sets the options on a connected socket.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(self.user_timeout))?;
        socket.set_tcp_nodelay(true)
    }
}

/// Listens on `address`; on the IPv6 wildcard also for IPv4.
pub fn listen(address: SocketAddr, options: Options) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connects, from the local address `bind` if it is given, and sets `options`.
pub async fn connect(
    remote: SocketAddr,
    bind: Option<IpAddr>,
    options: Options,
) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if let Some(local) = bind {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    let stream = socket.connect(remote).await?;
    options.apply(&stream)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_has_its_options_on_both_sides() {
        let listener =
            listen(SocketAddr::from(([127, 0, 0, 1], 0)), Options::LINK).expect("listen");
        let remote = listener.local_addr().expect("address");
        let (dialled, accepted) =
            tokio::join!(connect(remote, None, Options::LINK), listener.accept());
        let (dialled, (accepted, _)) = (dialled.expect("connect"), accepted.expect("accept"));
        Options::LINK.apply(&accepted).expect("options");
        for stream in [&dialled, &accepted] {
            let socket = SockRef::from(stream);
            assert!(socket.tcp_nodelay().expect("nodelay"));
            assert!(socket.keepalive().expect("keepalive"));
            let timeout = socket.tcp_user_timeout().expect("user timeout");
            assert_eq!(timeout, Some(Options::LINK.user_timeout));
        }
    }

    #[tokio::test]
    async fn the_ipv6_wildcard_also_takes_ipv4() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let Ok(listener) = listen(any, Options::LINK) else { return };
        let port = listener.local_addr().expect("address").port();
        let remote = SocketAddr::from(([127, 0, 0, 1], port));
        let (dialled, accepted) =
            tokio::join!(connect(remote, None, Options::LINK), listener.accept());
        assert!(dialled.is_ok() && accepted.is_ok());
    }
}
