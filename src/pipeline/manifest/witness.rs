//! The five witnesses of a complete backup, each with what it saw.
//!
//! A backup is complete only if all hold. One that could not be asked (the group, where somebody
//! else's member made the request) is absent, never assumed.

use galera_protocol::id::NodeId;
use serde::{Deserialize, Serialize};

/// One witness: whether it holds, and the facts it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness<Seen> {
    /// The condition is fulfilled.
    pub holds: bool,
    /// What was seen.
    pub seen: Seen,
}

/// All five.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnesses {
    /// Every file got its end chunk, offsets were gapless, checksums good.
    pub stream: Witness<StreamSeen>,
    /// The files that close this flavour's backup are there.
    pub closing_files: Witness<ClosingFilesSeen>,
    /// The transport ended cleanly, on a chunk boundary.
    pub transport: Witness<TransportSeen>,
    /// The donor's own JOIN message carried a seqno and no error; absent if nobody watched the group.
    #[serde(default)]
    pub group: Option<Witness<GroupSeen>>,
    /// The command that made a dump ended well; absent where a donor sent the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Witness<CommandSeen>>,
    /// The sink has everything; filled in by the sink.
    #[serde(default)]
    pub sink: Option<Witness<SinkSeen>>,
}

/// What the stream's reader counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSeen {
    /// Files opened and closed.
    pub files: u64,
    /// Bytes of the stream.
    pub bytes: u64,
}

/// The closing set of the flavour (spec 05 §4.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosingFilesSeen {
    /// Those that were there.
    pub found: Vec<String>,
    /// Those that were not.
    pub missing: Vec<String>,
}

/// How the donor's connection ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportSeen {
    /// The end itself.
    pub end: TransportEnd,
    /// Protocol version of TLS, where it was used.
    pub tls: Option<String>,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TransportEnd {
    /// TCP FIN on a plain connection.
    Fin,
    /// TLS close_notify.
    CloseNotify,
    /// End of file of a pipe or file.
    EndOfFile,
    /// Anything else: reset, FIN inside TLS.
    Broken,
}

/// The donor's JOIN message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSeen {
    /// Who sent it.
    #[serde(with = "super::text")]
    pub donor: NodeId,
    /// Its code: the seqno, or a negative errno.
    pub join_code: i64,
}

/// How the command of a dump ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSeen {
    /// The program's name; never its arguments, which may hold secrets.
    pub program: String,
    /// Its exit status.
    pub exit_status: i32,
}

/// What the sink stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSeen {
    /// Objects or files made.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Names one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessName {
    /// [`Witnesses::stream`].
    Stream,
    /// [`Witnesses::closing_files`].
    ClosingFiles,
    /// [`Witnesses::transport`].
    Transport,
    /// [`Witnesses::group`].
    Group,
    /// [`Witnesses::command`].
    Command,
    /// [`Witnesses::sink`].
    Sink,
}

impl Witnesses {
    /// The first that does not hold. An absent one is not counted as failed.
    pub fn first_failed(&self) -> Option<WitnessName> {
        let group = self.group.as_ref().is_none_or(|witness| witness.holds);
        let command = self.command.as_ref().is_none_or(|witness| witness.holds);
        let sink = self.sink.as_ref().is_none_or(|witness| witness.holds);
        [
            (self.stream.holds, WitnessName::Stream),
            (self.closing_files.holds, WitnessName::ClosingFiles),
            (self.transport.holds, WitnessName::Transport),
            (group, WitnessName::Group),
            (command, WitnessName::Command),
            (sink, WitnessName::Sink),
        ]
        .into_iter()
        .find_map(|(holds, name)| (!holds).then_some(name))
    }
}
