//! The round trip of a connection of ours, as the kernel's TCP measures it all the time.
//!
//! The group protocol acknowledges nothing per link, so nobody knows better. Asked over netlink,
//! which needs no privilege; where that is not to be had there is no latency to show.

use std::net::SocketAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};

/// The answer for one socket has some 400 bytes.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Where the smoothed round trip stands in the kernel's `struct tcp_info`, microseconds as a native
/// 32-bit number.
const RTT_OFFSET: usize = 68;

/// A socket without a cookie: any.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// The smoothed round trip between two ends of an established connection in this network
/// namespace.
pub(super) fn round_trip(local: SocketAddr, remote: SocketAddr) -> Option<Duration> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&NetlinkAddress::new(0, 0)).ok()?;
    // The kernel answers within the call; where it does not, there is nothing to wait for.
    socket.set_non_blocking(true).ok()?;
    socket.send(&question(local, remote), 0).ok()?;
    let mut answer = bytes::BytesMut::with_capacity(ANSWER_BYTES_MAX);
    socket.recv(&mut answer, 0).ok()?;
    let message = NetlinkMessage::<SockDiagMessage>::deserialize(&answer).ok()?;
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) = message.payload
    else {
        return None;
    };
    response.nlas.iter().find_map(round_trip_in)
}

fn question(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let request = InetRequest {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::ESTABLISHED,
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: remote.port(),
            source_address: local.ip(),
            destination_address: remote.ip(),
            interface_id: 0,
            cookie: NO_COOKIE,
        },
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn round_trip_in(attribute: &Nla) -> Option<Duration> {
    let Nla::TcpInfo(info) = attribute else { return None };
    let bytes = info.get(RTT_OFFSET..RTT_OFFSET + 4)?;
    let micros = u32::from_ne_bytes(bytes.try_into().ok()?);
    // A listening socket, which the kernel offers where there is no connection, has none.
    (micros > 0).then(|| Duration::from_micros(micros.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_on_this_machine_has_a_short_round_trip() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let mut near = TcpStream::connect(address).expect("connect");
        let (mut far, _) = listener.accept().expect("accept");
        near.write_all(b"x").expect("write");
        far.read_exact(&mut [0]).expect("read");
        let local = near.local_addr().expect("address");
        // A sandbox may forbid netlink; then there is nothing to check.
        if let Some(rtt) = round_trip(local, address) {
            assert!(rtt > Duration::ZERO && rtt < Duration::from_secs(1), "{rtt:?}");
        }
        assert_eq!(round_trip(address, SocketAddr::from(([127, 0, 0, 1], 9))), None);
    }
}
