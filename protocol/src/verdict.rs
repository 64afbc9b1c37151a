//! Whether there is a backup: five witnesses, and the one sentence if one of them disagrees.
//!
//! | witness | holds if |
//! |---|---|
//! | files | every file that appeared got its end, gapless, with good checksums |
//! | closing files | the files that end this flavour's backup are there ([`crate::xbstream::completeness`]) |
//! | transport | conn 2 ended cleanly, and on time |
//! | group | the donor's own JOIN came, in total order, without an error |
//! | sink | it committed |
//!
//! No witness makes up for another: a killed backup program ends its stream like a good one, a
//! donor's transport may give up with status 0, and the stock tools unpack half a stream without
//! a word (spec 05 §6.5). When several disagree, [`decide`] names the cause and not what followed
//! from it: a sink that failed breaks the connection, which then makes the donor fail.

mod failure;

use self::failure::witness_of;
use crate::sst::conversation::{Evidence, Failure as TransferFailure};
use crate::xbstream::{Completeness, Gap, StreamError};

pub use failure::{ExitClass, Failure, class_of};

/// What the five witnesses said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnesses {
    /// The stream's reader.
    pub files: Files,
    /// The set of names it saw.
    pub closing_files: ClosingFiles,
    /// The connection.
    pub transport: Transport,
    /// The donor, through the group.
    pub group: GroupWord,
    /// The target.
    pub sink: SinkEnd,
}

/// First witness: the files in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// The stream was not read to its end.
    Unread,
    /// All of them are whole.
    Whole {
        /// How many.
        count: u64,
    },
    /// The stream is damaged, or ended while some were open.
    Faulty(StreamError),
}

/// Second witness: the files that end a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingFiles {
    /// Nobody looked.
    Unread,
    /// All are there.
    Present,
    /// Something is missing.
    Lacking(Gap),
}

impl From<&Completeness> for ClosingFiles {
    fn from(completeness: &Completeness) -> Self {
        completeness.gaps.first().map_or(Self::Present, |gap| Self::Lacking(*gap))
    }
}

/// Third witness: the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// It did not come to its end.
    NotEnded,
    /// FIN, after `close_notify` with TLS.
    Clean,
    /// It never came, broke or took too long.
    Failed(TransferFailure),
}

/// Fourth witness: the donor's own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupWord {
    /// It was not heard.
    NotHeard,
    /// The donor's JOIN.
    Joined {
        /// Its code, zero or more.
        code: i64,
    },
    /// We receive for somebody else's member, who alone hears it.
    Unavailable,
    /// The donor failed, disappeared, or its word was missed.
    Failed(TransferFailure),
}

/// Fifth witness: the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkEnd {
    /// It did not commit.
    NotCommitted,
    /// The backup is visible.
    Committed,
    /// It could not even begin.
    NotCreated,
    /// It failed on the way, or when committing.
    Failed,
}

impl Witnesses {
    /// Before anything was heard.
    pub const NONE: Self = Self {
        files: Files::Unread,
        closing_files: ClosingFiles::Unread,
        transport: Transport::NotEnded,
        group: GroupWord::NotHeard,
        sink: SinkEnd::NotCommitted,
    };

    /// Takes over what the conversation saw: the third and the fourth witness.
    pub fn hear_transfer(&mut self, result: &Result<Evidence, TransferFailure>) {
        match result {
            Ok(evidence) => {
                self.transport = Transport::Clean;
                self.group = match evidence.join_code {
                    Some(code) => GroupWord::Joined { code },
                    None => GroupWord::Unavailable,
                };
            }
            Err(failure) => self.hear_failure(failure),
        }
    }

    fn hear_failure(&mut self, failure: &TransferFailure) {
        if matches!(failure, TransferFailure::Incomplete) {
            self.transport = Transport::Clean;
        }
        match witness_of(failure) {
            Some(Witness::Transport) => self.transport = Transport::Failed(failure.clone()),
            Some(Witness::Group) => self.group = GroupWord::Failed(failure.clone()),
            // The conversation repeats what the pipeline told it; the pipeline knows more.
            Some(Witness::Files | Witness::ClosingFiles | Witness::Sink) | None => {}
        }
    }
}

/// One of the five.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The files in the stream.
    Files,
    /// The files that end a backup.
    ClosingFiles,
    /// The connection.
    Transport,
    /// The donor's word.
    Group,
    /// The target.
    Sink,
}

/// A backup that all witnesses agree on. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complete {
    files: u64,
    join_code: Option<i64>,
}

impl Complete {
    /// Files in the backup.
    pub const fn files(&self) -> u64 {
        self.files
    }

    /// Code of the donor's JOIN; `None` if somebody else's member must look after it.
    pub const fn join_code(&self) -> Option<i64> {
        self.join_code
    }
}

/// Says whether there is a backup, and if not, the cause.
///
/// Asked in the order of causes: our own target, damage in the bytes that came, the donor's word
/// and the connection, and last what is merely missing.
pub fn decide(witnesses: &Witnesses) -> Result<Complete, Failure> {
    sink_did_not_fail(witnesses.sink)?;
    not_damaged(&witnesses.files)?;
    donor_did_not_fail(&witnesses.group)?;
    transport_is_clean(&witnesses.transport)?;
    let files = files_are_whole(&witnesses.files)?;
    closing_files_are_present(witnesses.closing_files)?;
    let join_code = group_agrees(&witnesses.group)?;
    sink_has_committed(witnesses.sink)?;
    Ok(Complete { files, join_code })
}

const fn sink_did_not_fail(sink: SinkEnd) -> Result<(), Failure> {
    match sink {
        SinkEnd::NotCreated => Err(Failure::SinkNotCreated),
        SinkEnd::Failed => Err(Failure::SinkFailed),
        SinkEnd::NotCommitted | SinkEnd::Committed => Ok(()),
    }
}

fn not_damaged(files: &Files) -> Result<(), Failure> {
    match files {
        Files::Faulty(error) if !error.fault.is_early_end() => Err(Failure::Damaged(error.clone())),
        Files::Unread | Files::Whole { .. } | Files::Faulty(_) => Ok(()),
    }
}

fn donor_did_not_fail(group: &GroupWord) -> Result<(), Failure> {
    match group {
        GroupWord::Failed(failure) => Err(Failure::Transfer(failure.clone())),
        GroupWord::NotHeard | GroupWord::Joined { .. } | GroupWord::Unavailable => Ok(()),
    }
}

fn transport_is_clean(transport: &Transport) -> Result<(), Failure> {
    match transport {
        Transport::Clean => Ok(()),
        Transport::NotEnded => Err(Failure::NotEnded),
        Transport::Failed(failure) => Err(Failure::Transfer(failure.clone())),
    }
}

fn files_are_whole(files: &Files) -> Result<u64, Failure> {
    match files {
        Files::Whole { count } => Ok(*count),
        Files::Unread => Err(Failure::Unread),
        Files::Faulty(error) => Err(Failure::Unfinished(error.clone())),
    }
}

const fn closing_files_are_present(closing: ClosingFiles) -> Result<(), Failure> {
    match closing {
        ClosingFiles::Present => Ok(()),
        ClosingFiles::Unread => Err(Failure::Unread),
        ClosingFiles::Lacking(gap) => Err(Failure::ClosingFiles(gap)),
    }
}

fn group_agrees(group: &GroupWord) -> Result<Option<i64>, Failure> {
    match group {
        GroupWord::Joined { code } if *code >= 0 => Ok(Some(*code)),
        GroupWord::Joined { code } => {
            Err(Failure::Transfer(TransferFailure::DonorFailed { code: *code, refusal: None }))
        }
        GroupWord::Unavailable => Ok(None),
        GroupWord::NotHeard => Err(Failure::NotHeard),
        GroupWord::Failed(failure) => Err(Failure::Transfer(failure.clone())),
    }
}

const fn sink_has_committed(sink: SinkEnd) -> Result<(), Failure> {
    match sink {
        SinkEnd::Committed => Ok(()),
        SinkEnd::NotCommitted => Err(Failure::SinkNotCommitted),
        SinkEnd::NotCreated => Err(Failure::SinkNotCreated),
        SinkEnd::Failed => Err(Failure::SinkFailed),
    }
}

#[cfg(test)]
mod tests;
