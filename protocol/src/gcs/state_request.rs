//! The payload of a STATE_REQ action: who shall be the donor, and what it is asked for.
//!
//! Not the address grammar of an SST method: that is [`crate::sst::request`]. The donor trusts what
//! it gets here (a malformed request can bring a production server down), so everything that is
//! sent passes [`encode_request`].

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::bytes::complete::{tag, take, take_while};
use nom::combinator::rest;
use nom::error::context;
use nom::number::complete::{le_i64, le_u32};
use nom::sequence::terminated;

use super::number::Seqno;
use crate::decode::{DecodeError, Parsed, whole};
use crate::id::StateId;

/// The donor list of a node that wants to be desynced and no transfer at all.
pub const SELF_DESYNC: &[u8] = b"self-desync";

/// The longest request that fits one fragment: stock donors want ours in one piece.
pub const REQUEST_LENGTH_MAX: usize = 32616;

const CONTAINER_MAGIC: &[u8] = b"STRv1\0";

/// A state transfer request as the group sees it.
///
/// | part       | old form (arbitrators)   | form 2 and later (data nodes)                |
/// |------------|--------------------------|----------------------------------------------|
/// | donor list | NUL-terminated           | NUL-terminated                               |
/// | form       | —                        | `V`, one byte                                |
/// | position   | —                        | group UUID (16), seqno (i64 little-endian)   |
/// | request    | the rest                 | the rest                                     |
///
/// An old-form request that starts with `V` would be read as the other form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRequest {
    /// Names divided by commas; empty for any donor.
    pub donors: Bytes,
    /// Position and form of a data node's request.
    pub position: Option<Position>,
    /// Opaque to the group: [`RequestBody`].
    pub body: Bytes,
}

/// What a data node says about its own history when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The form of the request: 2 or more.
    pub form: u8,
    /// Its history; nil if it has none.
    pub state: StateId,
    /// Its position in it.
    pub seqno: Seqno,
}

impl StateRequest {
    /// Decodes the payload of a complete STATE_REQ action.
    pub fn decode(payload: &Bytes) -> Result<Self, DecodeError> {
        let (donors, position, body) = whole("STATE_REQ", payload, parse_parts)?;
        let (donors, body) = (payload.slice_ref(donors), payload.slice_ref(body));
        Ok(Self { donors, position, body })
    }

    /// The form of the request; the old one counts as 1.
    pub fn form(&self) -> u8 {
        self.position.map_or(1, |position| position.form)
    }

    /// Does the sender only want to be desynced?
    pub fn is_self_desync(&self) -> bool {
        self.donors == SELF_DESYNC
    }

    /// The payload. Unchecked: for what we send ourselves there is [`encode_request`].
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.donors.len() + self.body.len() + 27);
        out.put_slice(&self.donors);
        out.put_u8(0);
        if let Some(position) = self.position {
            out.put_slice(&[b'V', position.form]);
            position.state.encode(&mut out);
            out.put_i64_le(position.seqno.0);
        }
        out.put_slice(&self.body);
        out.into()
    }
}

type Parts<'a> = (&'a [u8], Option<Position>, &'a [u8]);

fn parse_parts(input: &[u8]) -> Parsed<'_, Parts<'_>> {
    let (input, donors) = context("donor list", until_nul).parse(input)?;
    let (input, position) = match input {
        [b'V', form, tail @ ..] if *form >= 2 => {
            let (tail, position) = parse_position(tail, *form)?;
            (tail, Some(position))
        }
        _ => (input, None),
    };
    let (input, body) = rest(input)?;
    Ok((input, (donors, position, body)))
}

fn parse_position(input: &[u8], form: u8) -> Parsed<'_, Position> {
    let (input, state) = context("group UUID", StateId::parse).parse(input)?;
    let (input, seqno) = context("seqno", le_i64).parse(input)?;
    Ok((input, Position { form, state, seqno: Seqno(seqno) }))
}

fn until_nul(input: &[u8]) -> Parsed<'_, &[u8]> {
    terminated(take_while(|byte| byte != 0), tag(&[0][..])).parse(input)
}

/// What a request asks the donor's server for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// `method NUL argument NUL`: what arbitrators send.
    Plain {
        /// The SST method.
        method: Bytes,
        /// Where to send to, in the method's own grammar.
        argument: Bytes,
    },
    /// `STRv1 NUL`, then the SST and the IST part, each behind its length (u32 little-endian).
    Container {
        /// As the plain form; may be empty.
        sst: Bytes,
        /// `UUID:last applied-last needed|address NUL`; may be empty.
        ist: Bytes,
    },
    /// Anything else, such as the single byte of a self-desync.
    Other(Bytes),
}

impl RequestBody {
    /// Decodes a request; what has neither form survives as [`RequestBody::Other`].
    pub fn decode(body: &Bytes) -> Result<Self, DecodeError> {
        if body.starts_with(CONTAINER_MAGIC) {
            let (sst, ist) = whole("STRv1", body, parse_container)?;
            return Ok(Self::Container { sst: body.slice_ref(sst), ist: body.slice_ref(ist) });
        }
        Ok(match whole("SST request", body, |input| (until_nul, until_nul).parse(input)) {
            Ok((method, argument)) => {
                Self::Plain { method: body.slice_ref(method), argument: body.slice_ref(argument) }
            }
            Err(_) => Self::Other(body.clone()),
        })
    }
}

fn parse_container(input: &[u8]) -> Parsed<'_, (&[u8], &[u8])> {
    let (input, _) = context("magic", tag(CONTAINER_MAGIC)).parse(input)?;
    let (input, sst) = context("SST part", counted).parse(input)?;
    let (input, ist) = context("IST part", counted).parse(input)?;
    Ok((input, (sst, ist)))
}

fn counted(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (input, length) = le_u32(input)?;
    take(length).parse(input)
}

/// Why a request must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestProblem {
    /// Donors run the program of the method's name: only safe characters, at least one.
    #[error("SST method must consist of letters, digits, '-', '_' and '.'")]
    Method,
    /// A donor would take the request for another form.
    #[error("SST method must not begin with 'V' or \"STRv1\"")]
    MethodStart,
    /// NUL ends the text.
    #[error("SST address contains a NUL or control character")]
    Address,
    /// Names are NUL-terminated and divided by commas.
    #[error("donor list contains a NUL or control character, or the reserved word self-desync")]
    Donors,
    /// More than one fragment.
    #[error("state transfer request of {length} bytes, limit {REQUEST_LENGTH_MAX}")]
    Length {
        /// Bytes asked for.
        length: usize,
    },
}

/// Checks a request and builds its payload in the old form, `LIST 00 METHOD 00 ARGUMENT 00`.
pub fn encode_request(donors: &str, method: &str, argument: &str) -> Result<Bytes, RequestProblem> {
    let is_plain = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control());
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_safe) {
        return Err(RequestProblem::Method);
    }
    if method.starts_with('V') || method.starts_with("STRv1") {
        return Err(RequestProblem::MethodStart);
    }
    if !is_plain(argument) {
        return Err(RequestProblem::Address);
    }
    if !is_plain(donors) || donors.as_bytes() == SELF_DESYNC {
        return Err(RequestProblem::Donors);
    }
    let payload = [donors, method, argument].map(|part| [part.as_bytes(), &[0]].concat()).concat();
    let length = payload.len();
    if length > REQUEST_LENGTH_MAX {
        return Err(RequestProblem::Length { length });
    }
    Ok(payload.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_requests_are_what_garbd_sends() {
        let payload = encode_request("n1", "probe", "127.0.0.1:21350/probe_sst//1");
        let expected = b"n1\0probe\x00127.0.0.1:21350/probe_sst//1\0";
        assert_eq!(payload.as_deref(), Ok(&expected[..]));
        assert_eq!(encode_request("", "trivial", "").as_deref(), Ok(&b"\0trivial\0\0"[..]));
    }

    #[test]
    fn what_would_confuse_a_donor_is_never_built() {
        use RequestProblem::{Address, Donors, Length, Method, MethodStart};
        let long = "x".repeat(REQUEST_LENGTH_MAX);
        let cases = [
            (("", "", "a"), Method),
            (("", "x;rm", "a"), Method),
            (("", "a/b", "a"), Method),
            (("", "x\0y", "a"), Method),
            (("", "Vfoo", "a"), MethodStart),
            (("", "STRv1", "a"), MethodStart),
            (("", "x", "a\0b"), Address),
            (("a\0b", "x", "a"), Donors),
            (("self-desync", "x", "a"), Donors),
            (("", "x", &long), Length { length: REQUEST_LENGTH_MAX + 4 }),
        ];
        for ((donors, method, argument), problem) in cases {
            assert_eq!(encode_request(donors, method, argument), Err(problem));
        }
    }

    #[test]
    fn our_requests_read_back_as_the_old_form() {
        let payload = encode_request("n1,", "mariabackup", "h:1/xtrabackup_sst//1").expect("valid");
        let request = StateRequest::decode(&payload).expect("old form");
        assert_eq!((request.form(), request.position), (1, None));
        assert_eq!(request.donors, "n1,");
        let body = RequestBody::decode(&request.body).expect("plain");
        let (method, argument) = ("mariabackup".into(), "h:1/xtrabackup_sst//1".into());
        assert_eq!(body, RequestBody::Plain { method, argument });
        assert_eq!(request.encode(), payload);
    }

    #[test]
    fn a_data_nodes_request_without_its_position_is_refused() {
        let whole = b"\0V\x03ssssssssssssssss12345678";
        assert!(StateRequest::decode(&Bytes::from_static(whole)).is_ok());
        for length in 3..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert!(StateRequest::decode(&cut).is_err(), "{length} bytes");
        }
        assert!(StateRequest::decode(&Bytes::from_static(b"no end")).is_err());
    }

    #[test]
    fn container_lengths_must_add_up_exactly() {
        let good = Bytes::from_static(b"STRv1\0\x02\0\0\0ab\x01\0\0\0c");
        let body = RequestBody::decode(&good).expect("container");
        assert_eq!(body, RequestBody::Container { sst: "ab".into(), ist: "c".into() });
        for bad in [&b"STRv1\0\x02\0\0\0ab\x02\0\0\0c"[..], b"STRv1\0\x02\0\0\0ab\x01\0\0\0cc"] {
            assert!(RequestBody::decode(&Bytes::copy_from_slice(bad)).is_err());
        }
    }
}
