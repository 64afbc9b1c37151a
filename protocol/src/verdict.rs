//! Whether there is a backup: five witnesses, and the one sentence if one of them disagrees.
//!
//! | witness | holds if |
//! |---|---|
//! | files | every file that appeared got its end, gapless, with good checksums |
//! | closing files | the files that end this flavour's backup are there ([`closing`]) |
//! | transport | conn 2 ended cleanly, and on time |
//! | group | the donor's own JOIN came, in total order, without an error |
//! | sink | it committed |
//!
//! No witness makes up for another: a killed backup program ends its stream like a good one, a
//! donor's transport may give up with status 0, and the stock tools unpack half a stream without
//! a word (spec 05 §6.5). When several disagree, [`decide`] names the cause and not what followed
//! from it: a sink that failed breaks the connection, which then makes the donor fail.

pub mod closing;

use crate::sst::conversation::{Evidence, Failure as TransferFailure};
use crate::sst::metadata::MetadataError;
use crate::sst::sniff::Layer;
use crate::xbstream::EntryPath;

pub use closing::ClosingFile;

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
    /// The stream ended while some were open, or within a chunk.
    Unfinished {
        /// How many were open.
        open: u64,
        /// One of them.
        example: Option<EntryPath>,
    },
    /// The stream is not what it should be.
    Damaged {
        /// Where, if the damage lies within a file.
        path: Option<EntryPath>,
        /// What is wrong.
        damage: Damage,
    },
}

/// What can be wrong with a stream of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Not a chunk where one must be, or one of an unknown kind.
    #[error("bad framing")]
    Framing,
    /// Bytes do not match their checksum.
    #[error("checksum mismatch")]
    Checksum,
    /// A gap or an overlap within a file.
    #[error("offset out of order")]
    Offset,
    /// A name that leads out of the target, or is none.
    #[error("unsafe name")]
    Name,
    /// A length beyond the limits.
    #[error("length over the limit")]
    Length,
}

/// Second witness: the files that end a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingFiles {
    /// Nobody looked.
    Unread,
    /// All are there, and the summary says when the backup ended.
    Present,
    /// One is not there.
    Missing(ClosingFile),
    /// The summary has no end time: the backup program wrote it before it was done.
    NoEndTime,
}

/// Third witness: the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// It did not come to its end.
    NotEnded,
    /// FIN, after `close_notify` with TLS.
    Clean {
        /// Bytes of the archive.
        bytes: u64,
    },
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
                self.transport = Transport::Clean { bytes: evidence.archive_bytes };
                self.group = match evidence.join_code {
                    Some(code) => GroupWord::Joined { code },
                    None => GroupWord::Unavailable,
                };
            }
            Err(failure) => self.hear_failure(failure),
        }
    }

    fn hear_failure(&mut self, failure: &TransferFailure) {
        if let TransferFailure::Incomplete { bytes } = failure {
            self.transport = Transport::Clean { bytes: *bytes };
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
    archive_bytes: u64,
    join_code: Option<i64>,
}

impl Complete {
    /// Files in the backup.
    pub const fn files(&self) -> u64 {
        self.files
    }

    /// Bytes of the donor's stream.
    pub const fn archive_bytes(&self) -> u64 {
        self.archive_bytes
    }

    /// Code of the donor's JOIN; `None` if somebody else's member must look after it.
    pub const fn join_code(&self) -> Option<i64> {
        self.join_code
    }
}

/// Why there is no backup. Its text is the sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The target cannot be made.
    #[error("the target of the backup cannot be created")]
    SinkNotCreated,
    /// The target failed.
    #[error("the target of the backup failed")]
    SinkFailed,
    /// Nobody committed although all was well.
    #[error("the target did not commit the backup")]
    SinkNotCommitted,
    /// The stream is damaged.
    #[error("the backup stream is damaged: {damage}{}", within(path.as_ref()))]
    Damaged {
        /// The file, if known.
        path: Option<EntryPath>,
        /// What is wrong.
        damage: Damage,
    },
    /// The transfer failed.
    #[error(transparent)]
    Transfer(TransferFailure),
    /// The stream ended too early.
    #[error("the backup is incomplete: its stream ended in the middle{}", within(example.as_ref()))]
    Unfinished {
        /// A file that was open.
        example: Option<EntryPath>,
    },
    /// A closing file is missing.
    #[error("the backup is incomplete: {0} is missing")]
    ClosingFileMissing(ClosingFile),
    /// The summary has no end time.
    #[error("the backup is incomplete: its summary has no end time")]
    NoEndTime,
    /// The stream was not read to its end.
    #[error("the backup stream was not read to its end")]
    Unread,
    /// The connection has not ended.
    #[error("the donor's stream did not come to its end")]
    NotEnded,
    /// The donor was not heard.
    #[error("the donor's own word about the transfer was not heard")]
    NotHeard,
}

fn within(path: Option<&EntryPath>) -> String {
    path.map(|path| format!(" (in {path})")).unwrap_or_default()
}

/// Classes of failure, by what the caller should do about them. The numbers are exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitClass {
    /// Bad data in the stream.
    BadData = 65,
    /// The target cannot be created.
    SinkNotCreated = 73,
    /// The target failed.
    SinkFailed = 74,
    /// Worth a retry: lost contact, time limits.
    Retry = 75,
    /// TLS or identity.
    Identity = 77,
    /// Configuration, of ours or of the donor.
    Configuration = 78,
    /// Anything else.
    Other = 100,
    /// The donor failed or disappeared.
    DonorFailed = 101,
    /// The donor refused what was asked for.
    RequestRefused = 102,
}

impl ExitClass {
    /// The exit code.
    pub const fn code(self) -> u8 {
        self as u8
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
    let archive_bytes = transport_is_clean(&witnesses.transport)?;
    let files = files_are_whole(&witnesses.files)?;
    closing_files_are_present(witnesses.closing_files)?;
    let join_code = group_agrees(&witnesses.group)?;
    sink_has_committed(witnesses.sink)?;
    Ok(Complete { files, archive_bytes, join_code })
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
        Files::Damaged { path, damage } => {
            Err(Failure::Damaged { path: path.clone(), damage: *damage })
        }
        Files::Unread | Files::Whole { .. } | Files::Unfinished { .. } => Ok(()),
    }
}

fn donor_did_not_fail(group: &GroupWord) -> Result<(), Failure> {
    match group {
        GroupWord::Failed(failure) => Err(Failure::Transfer(failure.clone())),
        GroupWord::NotHeard | GroupWord::Joined { .. } | GroupWord::Unavailable => Ok(()),
    }
}

fn transport_is_clean(transport: &Transport) -> Result<u64, Failure> {
    match transport {
        Transport::Clean { bytes } => Ok(*bytes),
        Transport::NotEnded => Err(Failure::NotEnded),
        Transport::Failed(failure) => Err(Failure::Transfer(failure.clone())),
    }
}

fn files_are_whole(files: &Files) -> Result<u64, Failure> {
    match files {
        Files::Whole { count } => Ok(*count),
        Files::Unread => Err(Failure::Unread),
        Files::Unfinished { example, .. } => Err(Failure::Unfinished { example: example.clone() }),
        Files::Damaged { path, damage } => {
            Err(Failure::Damaged { path: path.clone(), damage: *damage })
        }
    }
}

const fn closing_files_are_present(closing: ClosingFiles) -> Result<(), Failure> {
    match closing {
        ClosingFiles::Present => Ok(()),
        ClosingFiles::Unread => Err(Failure::Unread),
        ClosingFiles::Missing(file) => Err(Failure::ClosingFileMissing(file)),
        ClosingFiles::NoEndTime => Err(Failure::NoEndTime),
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

impl Failure {
    /// Which witness disagrees.
    pub const fn witness(&self) -> Witness {
        match self {
            Self::SinkNotCreated | Self::SinkFailed | Self::SinkNotCommitted => Witness::Sink,
            Self::Damaged { .. } | Self::Unfinished { .. } | Self::Unread => Witness::Files,
            Self::ClosingFileMissing(_) | Self::NoEndTime => Witness::ClosingFiles,
            Self::NotEnded => Witness::Transport,
            Self::NotHeard => Witness::Group,
            Self::Transfer(failure) => match witness_of(failure) {
                Some(witness) => witness,
                None => Witness::Transport,
            },
        }
    }

    /// What the caller should do about it.
    pub const fn exit_class(&self) -> ExitClass {
        match self {
            Self::SinkNotCreated => ExitClass::SinkNotCreated,
            Self::SinkFailed => ExitClass::SinkFailed,
            Self::SinkNotCommitted | Self::Unread => ExitClass::Other,
            Self::Damaged { .. }
            | Self::Unfinished { .. }
            | Self::ClosingFileMissing(_)
            | Self::NoEndTime => ExitClass::BadData,
            Self::NotEnded | Self::NotHeard => ExitClass::Retry,
            Self::Transfer(failure) => class_of(failure),
        }
    }
}

/// Which witness speaks through a failed conversation; `None` if it never came to one.
const fn witness_of(failure: &TransferFailure) -> Option<Witness> {
    match failure {
        TransferFailure::DonorAddressUnknown
        | TransferFailure::NoFirstConnection { .. }
        | TransferFailure::NoSecondConnection { .. }
        | TransferFailure::NoMetadata { .. }
        | TransferFailure::Metadata(_)
        | TransferFailure::MetadataTooLong { .. }
        | TransferFailure::Wrapped { .. }
        | TransferFailure::NotEncrypted
        | TransferFailure::Interrupted { .. }
        | TransferFailure::Idle { .. }
        | TransferFailure::TooSlow { .. } => Some(Witness::Transport),
        TransferFailure::DonorFailed { .. }
        | TransferFailure::DonorGone
        | TransferFailure::OutcomeUnknown
        | TransferFailure::NoVerdict { .. }
        | TransferFailure::SentElsewhere { .. } => Some(Witness::Group),
        TransferFailure::Incomplete { .. } | TransferFailure::Damaged => Some(Witness::Files),
        TransferFailure::NotStored => Some(Witness::Sink),
    }
}

/// What the caller should do about a failed conversation.
pub const fn class_of(failure: &TransferFailure) -> ExitClass {
    match failure {
        TransferFailure::DonorAddressUnknown => ExitClass::Configuration,
        TransferFailure::Wrapped { layer } => match layer {
            Layer::Tls => ExitClass::Identity,
            Layer::Xbstream
            | Layer::Tar
            | Layer::OpensslEnc
            | Layer::Xbcrypt
            | Layer::Gzip
            | Layer::Zstd
            | Layer::Lz4
            | Layer::Bzip2
            | Layer::Xz
            | Layer::Qpress => ExitClass::Configuration,
        },
        TransferFailure::NotEncrypted => ExitClass::Identity,
        TransferFailure::Metadata(MetadataError::Bypass) => ExitClass::RequestRefused,
        TransferFailure::NoMetadata { .. }
        | TransferFailure::Metadata(_)
        | TransferFailure::MetadataTooLong { .. }
        | TransferFailure::Incomplete { .. }
        | TransferFailure::Damaged => ExitClass::BadData,
        TransferFailure::NoFirstConnection { .. }
        | TransferFailure::NoSecondConnection { .. }
        | TransferFailure::Interrupted { .. }
        | TransferFailure::Idle { .. }
        | TransferFailure::OutcomeUnknown
        | TransferFailure::NoVerdict { .. }
        | TransferFailure::SentElsewhere { .. } => ExitClass::Retry,
        TransferFailure::TooSlow { .. } | TransferFailure::NotStored => ExitClass::SinkFailed,
        TransferFailure::DonorFailed { .. } | TransferFailure::DonorGone => ExitClass::DonorFailed,
    }
}

#[cfg(test)]
mod tests;
