//! Packets of pcap and pcapng files, told apart by their first bytes.

use std::io::Read;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError};

use super::Timestamp;

/// Bytes read at a time; also the largest block.
const BUFFER_BYTES: usize = 1 << 20;

/// Interfaces of one file that are remembered.
const INTERFACES_MAX: usize = 1024;

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When.
    pub time: Timestamp,
    /// What it starts with.
    pub link: Linktype,
    /// What was captured of it.
    pub data: Vec<u8>,
}

/// Why a capture cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Neither format.
    #[error("not a pcap or pcapng capture; see --format for hex and raw bytes")]
    NotACapture,
    /// The input failed.
    #[error("read the capture")]
    Read,
    /// A block makes no sense.
    #[error("damaged capture after {0} packets")]
    Damaged(u64),
}

/// Reads packets one by one.
pub struct Packets<'a> {
    reader: Box<dyn PcapReaderIterator + Send + 'a>,
    interfaces: Vec<Interface>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: Linktype,
    /// Units of time per second.
    resolution: u64,
    offset_s: i64,
}

/// What comes next.
enum Step {
    /// A block of so many bytes, and its packet if it has one.
    Block(usize, Option<Packet>),
    NeedsInput,
    End,
    Damaged,
}

impl<'a> Packets<'a> {
    /// Reads the start of a file.
    pub fn open(input: impl Read + Send + 'a) -> Result<Self, CaptureError> {
        let reader = pcap_parser::create_reader(BUFFER_BYTES, input)
            .map_err(|_| CaptureError::NotACapture)?;
        Ok(Self { reader, interfaces: Vec::new(), count: 0 })
    }

    /// The next packet; none at the end. A last packet that was cut off is left out.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        loop {
            match self.step() {
                Step::Block(length, found) => {
                    self.reader.consume(length);
                    if let Some(packet) = found {
                        self.count += 1;
                        return Ok(Some(packet));
                    }
                }
                Step::NeedsInput if self.refill()? => {}
                Step::NeedsInput | Step::End => return Ok(None),
                Step::Damaged => return Err(CaptureError::Damaged(self.count)),
            }
        }
    }

    fn step(&mut self) -> Step {
        match self.reader.next() {
            Ok((length, block)) => Step::Block(length, take(&mut self.interfaces, &block)),
            Err(PcapError::Eof | PcapError::UnexpectedEof) => Step::End,
            Err(PcapError::Incomplete(_)) => Step::NeedsInput,
            Err(_) => Step::Damaged,
        }
    }

    /// Whether there was more to read.
    fn refill(&mut self) -> Result<bool, CaptureError> {
        let before = self.reader.data().len();
        match self.reader.refill() {
            Ok(()) => Ok(self.reader.data().len() > before),
            Err(PcapError::Eof) => Ok(false),
            Err(PcapError::BufferTooSmall) => Err(CaptureError::Damaged(self.count)),
            Err(_) => Err(CaptureError::Read),
        }
    }
}

fn take(interfaces: &mut Vec<Interface>, block: &PcapBlockOwned<'_>) -> Option<Packet> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution =
                if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            interfaces.clear();
            interfaces.push(Interface { link: header.network, resolution, offset_s: 0 });
            None
        }
        PcapBlockOwned::Legacy(packet) => {
            let interface = interfaces.first()?;
            let fraction = u64::from(packet.ts_usec) * 1_000_000 / interface.resolution;
            let time = Timestamp(i64::from(packet.ts_sec) * 1_000_000 + fraction as i64);
            Some(Packet { time, link: interface.link, data: packet.data.to_vec() })
        }
        PcapBlockOwned::NG(block) => take_block(interfaces, block),
    }
}

fn take_block(interfaces: &mut Vec<Interface>, block: &Block<'_>) -> Option<Packet> {
    match block {
        Block::SectionHeader(_) => interfaces.clear(),
        Block::InterfaceDescription(interface) if interfaces.len() < INTERFACES_MAX => {
            interfaces.push(Interface {
                link: interface.linktype,
                resolution: interface.ts_resolution().filter(|&n| n > 0).unwrap_or(1_000_000),
                offset_s: interface.ts_offset(),
            });
        }
        Block::EnhancedPacket(packet) => {
            let interface = usize::try_from(packet.if_id).ok().and_then(|id| interfaces.get(id))?;
            let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let captured = (packet.caplen as usize).min(packet.data.len());
            return Some(Packet {
                time: interface.time(ticks),
                link: interface.link,
                data: packet.data[..captured].to_vec(),
            });
        }
        // Simple packets have no time.
        Block::InterfaceDescription(_)
        | Block::SimplePacket(_)
        | Block::NameResolution(_)
        | Block::InterfaceStatistics(_)
        | Block::SystemdJournalExport(_)
        | Block::DecryptionSecrets(_)
        | Block::ProcessInformation(_)
        | Block::Custom(_)
        | Block::Unknown(_) => {}
    }
    None
}

impl Interface {
    fn time(&self, ticks: u64) -> Timestamp {
        let micros = u128::from(ticks) * 1_000_000 / u128::from(self.resolution);
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        Timestamp(micros.saturating_add(self.offset_s.saturating_mul(1_000_000)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pcap file of Ethernet frames.
    pub(in crate::capture) fn pcap(packets: &[(u32, &[u8])]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1_u32] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        for (seconds, data) in packets {
            let length = data.len() as u32;
            for word in [*seconds, 5, length, length] {
                file.extend_from_slice(&word.to_le_bytes());
            }
            file.extend_from_slice(data);
        }
        file
    }

    #[test]
    fn packets_come_with_their_times_and_a_cut_file_ends_early() {
        let file = pcap(&[(1, b"first"), (2, b"second")]);
        for (length, expected) in [(file.len(), 2), (file.len() - 1, 1), (file.len() - 20, 1)] {
            let mut packets = Packets::open(&file[..length]).expect("a capture");
            let mut found = Vec::new();
            while let Some(packet) = packets.next_packet().expect("readable") {
                found.push((packet.time.0, packet.data));
            }
            assert_eq!(found.len(), expected);
            assert_eq!(found[0], (1_000_005, b"first".to_vec()));
        }
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(
            Packets::open(&b"XBSTCK01 and more bytes"[..]),
            Err(CaptureError::NotACapture)
        ));
        assert!(Packets::open(&b""[..]).is_err());
    }
}
