//! From a frame to its sections, one per layer, and what is wrong with it.
//!
//! The layouts say where the fields are; the codecs say whether the layer would take the message. Both
//! are asked, and what either refuses is reported with its place in the frame.

use core::fmt;

use bytes::Bytes;

use super::layout::Layout;
use super::tables;
use super::walk::{FieldValue, Stop, Value, Walk};
use crate::checksum::Checksum;
use crate::decode::{DecodeError, Problem};
use crate::id::NodeId;
use crate::{evs, frame, gcs, gmcast, pc};

/// A layer of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Length and checksum.
    Frame,
    /// Links.
    Gmcast,
    /// Order.
    Evs,
    /// Quorum.
    Pc,
    /// The group.
    Gcs,
}

impl Layer {
    /// Its name in lower case, as filters take it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Gmcast => "gmcast",
            Self::Evs => "evs",
            Self::Pc => "pc",
            Self::Gcs => "gcs",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one layer put into the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The layer.
    pub layer: Layer,
    /// The type of its message: `HANDSHAKE`, `USER`, `STATE_REQ`…
    pub kind: &'static str,
    /// Its fields, in order.
    pub fields: Vec<FieldValue>,
}

impl Section {
    /// A field that is in no list.
    pub fn field(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|field| field.name == name && field.entry.is_none())
    }

    /// Its number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.value.number()
    }

    /// Its signed number.
    pub fn signed(&self, name: &str) -> Option<i64> {
        match &self.field(name)?.value {
            Value::Signed(number) => Some(*number),
            Value::Unsigned(number) => i64::try_from(*number).ok(),
            Value::Uuid(_) | Value::Text(_) | Value::Bytes => None,
        }
    }

    /// Its UUID.
    pub fn uuid(&self, name: &str) -> Option<NodeId> {
        match &self.field(name)?.value {
            Value::Uuid(uuid) => Some(*uuid),
            Value::Unsigned(_) | Value::Signed(_) | Value::Text(_) | Value::Bytes => None,
        }
    }

    /// Its text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value {
            Value::Text(text) => Some(text),
            Value::Unsigned(_) | Value::Signed(_) | Value::Uuid(_) | Value::Bytes => None,
        }
    }

    /// The fields of each entry of its list.
    pub fn entries(&self) -> impl Iterator<Item = &[FieldValue]> {
        self.fields
            .chunk_by(|a, b| a.entry == b.entry)
            .filter(|fields| fields.first().is_some_and(|field| field.entry.is_some()))
    }
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {field} at byte {offset}: {problem}")]
pub struct Fault {
    /// Whose rules are broken.
    pub layer: Layer,
    /// The field.
    pub field: &'static str,
    /// Where it is in the frame.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What a frame is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// From the outside in. An aggregate has several of PC and GCS; a DELEGATE two of EVS.
    pub sections: Vec<Section>,
    /// What is wrong; none if every layer would take it.
    pub fault: Option<Fault>,
}

impl Description {
    /// The first section of a layer.
    pub fn section(&self, layer: Layer) -> Option<&Section> {
        self.sections.iter().find(|section| section.layer == layer)
    }

    /// Bytes that belong to no field.
    pub fn unknown_bytes(&self, frame_len: usize) -> usize {
        let mut known = vec![false; frame_len];
        for field in self.sections.iter().flat_map(|section| &section.fields) {
            let end = (field.offset + field.length).min(frame_len);
            known[field.offset.min(end)..end].fill(true);
        }
        known.iter().filter(|known| !**known).count()
    }
}

/// Describes one whole frame, from its net header on.
pub fn describe_frame(frame: &Bytes) -> Description {
    let mut describer = Describer::new(frame);
    if let Err(fault) = describer.frame() {
        describer.description.fault.get_or_insert(fault);
    }
    describer.description
}

/// Describes the message of one layer alone. Of GCS the user type must be known from elsewhere.
pub fn describe_message(layer: Layer, user_type: u8, message: &Bytes) -> Description {
    let mut describer = Describer::new(message);
    let end = message.len();
    let described = match layer {
        Layer::Frame => describer.frame(),
        Layer::Gmcast => describer.gmcast(0, end),
        Layer::Evs => describer.evs(0, end, false),
        Layer::Pc => describer.pc(user_type, 0, end),
        Layer::Gcs => describer.gcs(user_type, 0, end),
    };
    if let Err(fault) = described {
        describer.description.fault.get_or_insert(fault);
    }
    describer.description
}

struct Describer<'a> {
    bytes: &'a Bytes,
    description: Description,
}

impl<'a> Describer<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, description: Description::default() }
    }

    fn frame(&mut self) -> Result<(), Fault> {
        let header = frame::HEADER_BYTES;
        let walk = self.follow(Layer::Frame, "FRAME", &[&tables::NET], 0, self.bytes.len())?;
        let end = header + (self.number(walk, "word") & 0x00ff_ffff) as usize;
        if let Err(fault) = self.check_frame(end) {
            self.description.fault = Some(fault);
        }
        self.gmcast(header, end.min(self.bytes.len()))
    }

    fn check_frame(&self, end: usize) -> Result<(), Fault> {
        let fault = |field, offset, problem| Fault { layer: Layer::Frame, field, offset, problem };
        let mut buffer = bytes::BytesMut::from(self.bytes.as_ref());
        match frame::FrameDecoder::new().decode(&mut buffer) {
            Ok(None) => Err(fault("body", self.bytes.len(), Problem::Truncated)),
            Ok(Some(_)) if end < self.bytes.len() => Err(fault("body", end, Problem::Trailing)),
            Ok(Some(_)) => Ok(()),
            Err(frame::FrameError::Checksum(_)) => Err(fault("checksum", 4, Problem::Checksum)),
            Err(frame::FrameError::TooLong { .. }) => Err(fault("word", 0, Problem::TooLarge)),
            Err(frame::FrameError::Version(_)) => Err(fault("word", 0, Problem::Version)),
            Err(
                frame::FrameError::ReservedFlag | frame::FrameError::Empty | frame::FrameError::Tls,
            ) => Err(fault("word", 0, Problem::Invalid)),
        }
    }

    fn gmcast(&mut self, at: usize, end: usize) -> Result<(), Fault> {
        let kind = self.kind(at + 1, tables::GMCAST_TYPES);
        let section = self.follow(Layer::Gmcast, kind, &[&tables::GMCAST], at, end)?;
        let body = self.end_of(section);
        let decoded = gmcast::message::Message::decode(&self.bytes.slice(at..end));
        self.check(Layer::Gmcast, at, decoded.err());
        if kind == "USER" {
            return self.evs(body, end, false);
        }
        // Nodes ignore what follows; people should know of it.
        self.all_read(Layer::Gmcast, body, end)
    }

    fn evs(&mut self, at: usize, end: usize, is_inner: bool) -> Result<(), Fault> {
        let first = self.bytes.get(at).copied().unwrap_or_default();
        let number = u64::from(first >> 2) & 7;
        let kind = tables::name(tables::EVS_TYPES, number).unwrap_or("unknown");
        let body: &[&Layout] = match kind {
            "USER" => &[&tables::EVS, &tables::EVS_USER],
            "GAP" => &[&tables::EVS, &tables::EVS_GAP],
            "JOIN" => &[&tables::EVS, &tables::EVS_JOIN],
            "INSTALL" => &[&tables::EVS, &tables::EVS_INSTALL],
            "LEAVE" => &[&tables::EVS, &tables::EVS_LEAVE],
            "DELAYED_LIST" => &[&tables::EVS, &tables::EVS_DELAYED_LIST],
            _ => &[&tables::EVS],
        };
        let section = self.follow(Layer::Evs, kind, body, at, end)?;
        let body = self.end_of(section);
        if !is_inner {
            let decoded = evs::message::Message::decode(&self.bytes.slice(at..end));
            self.check(Layer::Evs, at, decoded.err());
        }
        match kind {
            "DELEGATE" if !is_inner => self.evs(body, end, true),
            "USER" => self.evs_payload(section, body, end),
            _ => self.all_read(Layer::Evs, body, end),
        }
    }

    fn evs_payload(&mut self, section: usize, at: usize, end: usize) -> Result<(), Fault> {
        const AGGREGATE: u64 = 0x08;
        let user_type = self.number(section, "user type") as u8;
        if at == end {
            return Ok(());
        }
        if self.number(section, "flags") & AGGREGATE == 0 {
            return self.pc(user_type, at, end);
        }
        let mut at = at;
        while at < end {
            let part = self.follow(Layer::Evs, "sub-message", &[&tables::AGGREGATE], at, end)?;
            let (body, length) = (self.end_of(part), self.number(part, "sub-message length"));
            at = body.saturating_add(length as usize);
            let user_type = self.number(part, "sub-message user type") as u8;
            self.pc(user_type, body, at.min(end))?;
        }
        self.all_read(Layer::Evs, at.min(end), end)
    }

    fn pc(&mut self, user_type: u8, at: usize, end: usize) -> Result<(), Fault> {
        let kind = self.kind(at + 1, tables::PC_TYPES);
        let layouts: &[&Layout] = match kind {
            "STATE" | "INSTALL" => &[&tables::PC, &tables::PC_NODES],
            _ => &[&tables::PC],
        };
        let section = self.follow(Layer::Pc, kind, layouts, at, end)?;
        let body = self.end_of(section);
        self.check(Layer::Pc, at, pc::Message::decode(&self.bytes.slice(at..end)).err());
        if kind == "USER" {
            return self.gcs(user_type, body, end);
        }
        self.all_read(Layer::Pc, body, end)
    }

    fn gcs(&mut self, user_type: u8, at: usize, end: usize) -> Result<(), Fault> {
        let number = u64::from(user_type);
        let kind = tables::name(tables::GCS_TYPES, number).unwrap_or("unknown");
        let payload = self.bytes.slice(at..end);
        self.check(Layer::Gcs, at, gcs::message::Message::decode(user_type, &payload).err());
        let layout = match kind {
            "ACTION" => return self.action(at, end),
            "STATE_UUID" => &tables::STATE_UUID,
            "STATE_MSG" => &tables::STATE_MSG,
            "FLOW" => &tables::FLOW,
            "LAST" | "JOIN" | "SYNC" | "VOTE" if payload.len() == 8 => &tables::CODE_SHORT,
            "LAST" | "JOIN" | "SYNC" | "VOTE" => &tables::CODE,
            _ => &tables::OTHER,
        };
        let section = self.follow(Layer::Gcs, kind, &[layout], at, end)?;
        self.all_read(Layer::Gcs, self.end_of(section), end)
    }

    fn action(&mut self, at: usize, end: usize) -> Result<(), Fault> {
        const HEADER: usize = gcs::action::HEADER_LENGTH;
        let action_type = self.bytes.get(at + 16).copied().map(u64::from);
        let fragment = self.bytes.get(at + 12..at + 16);
        let data = self.bytes.get(at + HEADER..end).unwrap_or_default();
        let is_first = fragment == Some(&[0; 4]);
        let (kind, layout) = match action_type {
            Some(0) => ("write-set", &tables::WRITE_SET),
            Some(2) if !is_first => ("STATE_REQ", &tables::REQUEST_PART),
            Some(2) => ("STATE_REQ", request_layout(data)),
            _ => ("ACTION", &tables::WRITE_SET),
        };
        let layouts = [&tables::ACTION, layout];
        let section = self.follow(Layer::Gcs, kind, &layouts, at, end)?;
        self.all_read(Layer::Gcs, self.end_of(section), end)
    }

    /// Adds a section; its index, or where it could not be followed any further.
    fn follow(
        &mut self,
        layer: Layer,
        kind: &'static str,
        layouts: &[&Layout],
        at: usize,
        end: usize,
    ) -> Result<usize, Fault> {
        let mut walk = Walk::new(self.bytes, at, end);
        let followed = layouts.iter().try_for_each(|layout| walk.follow(layout));
        self.description.sections.push(Section { layer, kind, fields: walk.fields });
        followed.map_err(|Stop { field, offset, problem }| Fault {
            layer,
            field,
            offset,
            problem,
        })?;
        Ok(self.description.sections.len() - 1)
    }

    fn kind(&self, at: usize, names: &[(u64, &'static str)]) -> &'static str {
        let number = self.bytes.get(at).copied().unwrap_or_default();
        tables::name(names, u64::from(number)).unwrap_or("unknown")
    }

    fn number(&self, section: usize, field: &str) -> u64 {
        let section = self.description.sections.get(section);
        section.and_then(|section| section.number(field)).unwrap_or_default()
    }

    /// Where the bytes after a section start.
    fn end_of(&self, section: usize) -> usize {
        let section = self.description.sections.get(section);
        let last = section.and_then(|section| section.fields.last());
        last.map_or(0, |field| field.offset + field.length)
    }

    /// The layer's own codec has a word too; the first complaint is the one to look at.
    fn check(&mut self, layer: Layer, at: usize, error: Option<DecodeError>) {
        let Some(DecodeError { field, offset, problem, .. }) = error else { return };
        let fault = Fault { layer, field, offset: at + offset, problem };
        self.description.fault.get_or_insert(fault);
    }

    fn all_read(&self, layer: Layer, at: usize, end: usize) -> Result<(), Fault> {
        if at >= end {
            return Ok(());
        }
        Err(Fault { layer, field: "end of message", offset: at, problem: Problem::Trailing })
    }
}

fn request_layout(data: &[u8]) -> &'static Layout {
    let after = data.iter().position(|&byte| byte == 0).and_then(|end| data.get(end + 1));
    if after == Some(&b'V') { &tables::REQUEST } else { &tables::REQUEST_OLD }
}

/// Whether bytes that a stream continues with are a frame: length, and the checksum if it is all there.
pub fn looks_like_frame(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d, e, f, g, h]) = bytes.first_chunk() else { return false };
    let word = u32::from_le_bytes([a, b, c, d]);
    let (length, kind) = ((word & 0x00ff_ffff) as usize, (word >> 24) as u8);
    if length == 0 || length > frame::BODY_BYTES_MAX || kind & !3 != 0 {
        return false;
    }
    let checksum = u32::from_le_bytes([e, f, g, h]);
    let kind = match kind {
        0 => Checksum::None,
        1 => Checksum::Crc32,
        _ => Checksum::Crc32c,
    };
    match bytes.get(8..8 + length) {
        Some(body) => kind.of(body) == checksum && body[0] == 0 && matches!(body[1], 1..=8),
        None => false,
    }
}
