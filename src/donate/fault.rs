//! What a donor does wrong on purpose, in words:
//!
//! ```text
//!  cut=10M     the stream ends after so many bytes, in order, and the donor reports −22
//!  lie=10M     the same, and the donor reports success
//!  omit=xtrabackup_info
//! ```

use std::str::FromStr;

use crate::config::ByteSize;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The stream ends in order after so many bytes; the donor reports −22.
    Cut(u64),
    /// The stream ends in order after so many bytes; the donor reports success.
    Lie(u64),
    /// The connection is reset after so many bytes; the donor reports −22.
    Reset(u64),
    /// Nothing more comes after so many bytes, until the receiver gives up.
    Stall(u64),
    /// A bit of this byte is turned over.
    Corrupt(u64),
    /// So many bytes a second.
    Slow(u64),
    /// All is sent; the donor reports minus this.
    Code(u8),
    /// Nothing is sent; the donor reports minus this.
    Refuse(u8),
    /// This file is not in the stream.
    Omit(String),
    /// All is sent; the donor never reports anything.
    Silent,
    /// The donor leaves the group in order, after so many bytes.
    Leave(u64),
    /// The donor is gone from one moment to the next, after so many bytes.
    Crash(u64),
}

/// What faults look like, for help and errors.
pub const GRAMMAR: &str = "cut=SIZE, lie=SIZE, reset=SIZE, stall=SIZE, corrupt=SIZE, \
                           slow=SIZE (a second), code=N, refuse=N, omit=FILE, silent, leave=SIZE \
                           or crash=SIZE";

/// Not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of {GRAMMAR}")]
pub struct ParseFaultError(String);

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, ParseFaultError> {
        parse(text).ok_or_else(|| ParseFaultError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Fault> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let size = || value.parse().ok().map(|ByteSize(bytes)| bytes);
    let status = || value.parse().ok().filter(|status| *status > 0);
    match name {
        "cut" => size().map(Fault::Cut),
        "lie" => size().map(Fault::Lie),
        "reset" => size().map(Fault::Reset),
        "stall" => size().map(Fault::Stall),
        "corrupt" => size().map(Fault::Corrupt),
        "slow" => size().filter(|bytes| *bytes > 0).map(Fault::Slow),
        "leave" => size().map(Fault::Leave),
        "crash" => size().map(Fault::Crash),
        "code" => status().map(Fault::Code),
        "refuse" => status().map(Fault::Refuse),
        "omit" if !value.is_empty() => Some(Fault::Omit(value.to_owned())),
        "silent" if text == name => Some(Fault::Silent),
        _ => None,
    }
}

/// How a stream that does not reach its end stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In order, as if all had been sent.
    InOrder,
    /// By a reset.
    Reset,
    /// Not at all: the receiver has to.
    Never,
}

/// What faults mean for the second connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamFaults {
    pub(super) stop: Option<(u64, Ending)>,
    pub(super) corrupt: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
}

/// What the donor does when its script has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It tells the group this code: 0 or minus an exit status.
    Report(i64),
    /// It says nothing.
    Silence,
    /// It leaves the group in order.
    Leave,
    /// It drops its links.
    Crash,
}

impl StreamFaults {
    pub(super) fn of(faults: &[Fault]) -> Self {
        let mut plan = Self::default();
        for fault in faults {
            match fault {
                Fault::Cut(at) | Fault::Lie(at) | Fault::Leave(at) => {
                    plan.stop = Some((*at, Ending::InOrder));
                }
                Fault::Reset(at) | Fault::Crash(at) => plan.stop = Some((*at, Ending::Reset)),
                Fault::Stall(at) => plan.stop = Some((*at, Ending::Never)),
                Fault::Corrupt(at) => plan.corrupt = Some(*at),
                Fault::Slow(rate) => plan.bytes_per_second = Some(*rate),
                Fault::Code(_) | Fault::Refuse(_) | Fault::Omit(_) | Fault::Silent => {}
            }
        }
        plan
    }
}

/// What the donor tells the group; `status` is what its script ended with.
pub(super) fn verdict(faults: &[Fault], status: u8) -> Verdict {
    let own = faults.iter().find_map(|fault| match fault {
        Fault::Lie(_) => Some(Verdict::Report(0)),
        Fault::Code(code) | Fault::Refuse(code) => Some(Verdict::Report(-i64::from(*code))),
        Fault::Silent => Some(Verdict::Silence),
        Fault::Leave(_) => Some(Verdict::Leave),
        Fault::Crash(_) => Some(Verdict::Crash),
        Fault::Cut(_)
        | Fault::Reset(_)
        | Fault::Stall(_)
        | Fault::Corrupt(_)
        | Fault::Slow(_)
        | Fault::Omit(_) => None,
    });
    own.unwrap_or(Verdict::Report(-i64::from(status)))
}

/// Names of files that are not sent.
pub(super) fn omitted(faults: &[Fault]) -> Vec<String> {
    let name = |fault: &Fault| match fault {
        Fault::Omit(name) => Some(name.clone()),
        Fault::Cut(_)
        | Fault::Lie(_)
        | Fault::Reset(_)
        | Fault::Stall(_)
        | Fault::Corrupt(_)
        | Fault::Slow(_)
        | Fault::Code(_)
        | Fault::Refuse(_)
        | Fault::Silent
        | Fault::Leave(_)
        | Fault::Crash(_) => None,
    };
    faults.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for (text, fault) in [
            ("cut=10M", Fault::Cut(10 << 20)),
            ("lie=0", Fault::Lie(0)),
            ("slow=1K", Fault::Slow(1 << 10)),
            ("code=22", Fault::Code(22)),
            ("omit=xtrabackup_info", Fault::Omit("xtrabackup_info".into())),
            ("silent", Fault::Silent),
        ] {
            assert_eq!(text.parse(), Ok(fault), "{text}");
        }
        for text in ["", "cut", "cut=x", "code=0", "code=256", "slow=0", "omit=", "silent=1", "x=1"]
        {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_lie_is_the_only_fault_that_turns_failure_into_success() {
        assert_eq!(verdict(&[], 0), Verdict::Report(0));
        assert_eq!(verdict(&[Fault::Cut(1)], 22), Verdict::Report(-22));
        assert_eq!(verdict(&[Fault::Lie(1)], 22), Verdict::Report(0));
        assert_eq!(verdict(&[Fault::Code(5)], 0), Verdict::Report(-5));
        assert_eq!(verdict(&[Fault::Slow(5), Fault::Silent], 0), Verdict::Silence);
    }
}
