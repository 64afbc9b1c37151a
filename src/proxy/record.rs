//! What went through as a pcapng file, for `decode`, Wireshark, and people who ask for a capture.
//!
//! The packets are made here: the bytes are what was passed on, the TCP numbers count them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;

use crate::capture::{Flow, StreamEvent, Timestamp};

/// Payload of one packet; an IPv4 packet is at most 64 KiB.
const PAYLOAD_BYTES_MAX: usize = 32 << 10;

/// Raw IP.
const LINKTYPE_RAW: u32 = 101;

const WINDOW: u16 = 65_535;
const TTL: u8 = 64;

/// Writes a capture.
#[derive(Debug)]
pub struct Recorder<W> {
    out: W,
    /// The number of the next byte of each direction.
    next: BTreeMap<Flow, u32>,
}

impl<W: Write> Recorder<W> {
    /// Begins a file.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend_from_slice(&[1, 0, 0, 0]);
        section.extend_from_slice(&u64::MAX.to_le_bytes());
        block(&mut out, 0x0a0d_0d0a, &section)?;
        let mut interface = LINKTYPE_RAW.to_le_bytes().to_vec();
        // No limit on packets; times in microseconds, which is the default.
        interface.extend_from_slice(&0_u32.to_le_bytes());
        block(&mut out, 1, &interface)?;
        Ok(Self { out, next: BTreeMap::new() })
    }

    /// Adds what happened on a stream.
    pub fn take(&mut self, time: Timestamp, flow: Flow, event: &StreamEvent) -> io::Result<()> {
        match event {
            StreamEvent::Opened => {
                self.next.insert(flow, 0);
                self.packet(time, flow, Control::Syn, &[])
            }
            StreamEvent::Data(bytes) => {
                let mut pieces = bytes.chunks(PAYLOAD_BYTES_MAX);
                pieces.try_for_each(|piece| self.packet(time, flow, Control::Data, piece))
            }
            StreamEvent::Ended | StreamEvent::Reset => {
                self.packet(time, flow, Control::Fin, &[])?;
                self.next.remove(&flow);
                Ok(())
            }
            StreamEvent::Gap(_) => Ok(()),
        }?;
        // A recording is most wanted when something goes wrong.
        self.out.flush()
    }

    fn packet(
        &mut self,
        time: Timestamp,
        flow: Flow,
        control: Control,
        payload: &[u8],
    ) -> io::Result<()> {
        let acknowledged = self.next.get(&flow.reverse()).copied().unwrap_or_default();
        let seq = self.next.entry(flow).or_default();
        let data = packet(flow.from, flow.to, *seq, acknowledged, control, payload)?;
        let used = payload.len() as u32 + u32::from(control != Control::Data);
        *seq = seq.wrapping_add(used);
        let ticks = u64::try_from(time.0).unwrap_or_default();
        let length = data.len() as u32;
        let mut body = Vec::with_capacity(20 + data.len());
        for word in [0, (ticks >> 32) as u32, ticks as u32, length, length] {
            body.extend_from_slice(&word.to_le_bytes());
        }
        body.extend_from_slice(&data);
        block(&mut self.out, 6, &body)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Syn,
    Data,
    Fin,
}

fn packet(
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    acknowledged: u32,
    control: Control,
    payload: &[u8],
) -> io::Result<Vec<u8>> {
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (from, to) => PacketBuilder::ipv6(v6(from), v6(to), TTL),
    };
    let tcp = ip.tcp(from.port(), to.port(), seq, WINDOW);
    let tcp = match control {
        Control::Syn => tcp.syn(),
        Control::Data => tcp.psh().ack(acknowledged),
        Control::Fin => tcp.fin().ack(acknowledged),
    };
    let mut packet = Vec::with_capacity(tcp.size(payload.len()));
    tcp.write(&mut packet, payload).map_err(io::Error::other)?;
    Ok(packet)
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// A block: type, length, body filled up to four bytes, length.
fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let padded = body.len().next_multiple_of(4);
    let length = (12 + padded) as u32;
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(body)?;
    out.write_all(&[0; 3][..padded - body.len()])?;
    out.write_all(&length.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::{Packets, Segment, Streams};

    #[test]
    fn a_recording_reads_back_as_what_went_through() {
        let flow = Flow {
            from: ([10, 0, 0, 1], 1000).into(),
            to: ([10, 0, 0, 2], 4567).into(),
            generation: 0,
        };
        let long = Bytes::from(vec![7; 100_001]);
        let events = [StreamEvent::Opened, StreamEvent::Data(long.clone()), StreamEvent::Ended];
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&mut file).expect("begun");
        for event in &events {
            recorder.take(Timestamp(1_234_567), flow, event).expect("written");
        }
        let (mut packets, mut streams) =
            (Packets::open(&file[..]).expect("a capture"), Streams::default());
        let (mut bytes, mut others) = (Vec::new(), Vec::new());
        while let Some(packet) = packets.next_packet().expect("readable") {
            assert_eq!(packet.time, Timestamp(1_234_567));
            for (found, event) in streams.take(&Segment::parse(&packet).expect("TCP")) {
                assert_eq!(found, flow);
                if let StreamEvent::Data(piece) = &event {
                    bytes.extend_from_slice(piece);
                } else {
                    others.push(event);
                }
            }
        }
        assert!(bytes == long, "the bytes differ");
        assert_eq!(others, [StreamEvent::Opened, StreamEvent::Ended]);
    }
}
