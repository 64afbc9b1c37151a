//! What the job learns on its way, until it becomes the manifest.

use std::net::IpAddr;

use galera_protocol::NodeId;
use galera_protocol::gcs::Transfer;
use galera_protocol::sst::conversation::Evidence;
use galera_protocol::sst::metadata::{self, Metadata, MetadataFile};
use galera_protocol::sst::request;
use galera_protocol::xbstream::{Body, ChunkHeader, Extent, Flags};
use jiff::Timestamp;

use crate::pipeline::manifest::{
    BackupId, BackupInfo, ClosingFilesSeen, Donor, Flavour, GroupSeen, Manifest, Method,
    PLAIN_FORMAT_VERSION, StateSeen, StreamSeen, Times, Totals, TransportEnd, TransportSeen,
    Versions, Witness, Witnesses,
};
use crate::pipeline::{Options, StreamSummary};

/// Percona's file of conn 1. It is not in conn 2, and the transition key is nowhere else.
const SST_INFO: &[u8] = b"sst_info";

/// Facts about one attempt.
pub(super) struct Record {
    id: BackupId,
    group: String,
    method: request::Method,
    started: Timestamp,
    requested: Option<Timestamp>,
    first_byte: Option<Timestamp>,
    received: Option<Timestamp>,
    transfer: Option<Transfer>,
    donor_address: Option<IpAddr>,
    donor_word: Option<(NodeId, i64)>,
    metadata: Option<Metadata>,
    keyring: Vec<MetadataFile>,
    /// Version of TLS around the backup itself.
    tls: Option<String>,
}

impl Record {
    pub(super) fn new(
        id: BackupId,
        group: String,
        method: request::Method,
        started: Timestamp,
    ) -> Self {
        Self {
            id,
            group,
            method,
            started,
            requested: None,
            first_byte: None,
            received: None,
            transfer: None,
            donor_address: None,
            donor_word: None,
            metadata: None,
            keyring: Vec::new(),
            tls: None,
        }
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    pub(super) fn accepted(&mut self, transfer: &Transfer, address: Option<IpAddr>) {
        self.requested = Some(Timestamp::now());
        self.transfer = Some(transfer.clone());
        self.donor_address = address;
    }

    pub(super) fn donor_name(&self) -> Option<String> {
        self.transfer.as_ref().map(|transfer| transfer.donor_name.to_string())
    }

    pub(super) fn metadata(&mut self, metadata: Metadata) {
        self.metadata = Some(metadata);
    }

    pub(super) fn keyring(&mut self, files: Vec<MetadataFile>) {
        self.keyring = files;
    }

    /// What the backup must have besides the donor's own stream, as the beginning of one: the file
    /// with the transition key, and a keyring. MariaDB's metadata is in its stream anyway.
    pub(super) fn kept_files(&self) -> Vec<u8> {
        let metadata = self.metadata.iter().flat_map(|metadata| &metadata.files);
        let told = metadata.filter(|file| file.name.as_bytes() == SST_INFO);
        let mut stream = Vec::new();
        for file in told.chain(&self.keyring) {
            encode_file(file, &mut stream);
        }
        stream
    }

    pub(super) fn first_byte(&mut self, tls: Option<&str>) {
        self.first_byte = Some(Timestamp::now());
        self.tls = tls.map(str::to_owned);
    }

    /// Has the backup itself begun to arrive?
    pub(super) fn has_begun(&self) -> bool {
        self.first_byte.is_some()
    }

    pub(super) fn received(&mut self) {
        self.received = Some(Timestamp::now());
    }

    pub(super) fn join_code(&mut self, donor: NodeId, code: i64) {
        self.donor_word = Some((donor, code));
    }

    /// What the stream must hold, now that the donor has said who it is.
    pub(super) fn stream_options(&self, options: &Options) -> Options {
        let expected = self.metadata.as_ref().map(Metadata::expected).unwrap_or_default();
        Options { expected, ..options.clone() }
    }

    fn flavour(&self) -> Flavour {
        match self.metadata.as_ref().and_then(|metadata| metadata.flavour) {
            Some(metadata::Flavour::MariaDb) => Flavour::Mariadb,
            Some(metadata::Flavour::PerconaXtraDbCluster) => Flavour::Percona,
            None => match self.method {
                request::Method::Mariabackup => Flavour::Mariadb,
                request::Method::XtrabackupV2 => Flavour::Percona,
            },
        }
    }

    /// Everything but the last witness, which the sink adds when it commits.
    pub(super) fn manifest(&self, summary: &StreamSummary, evidence: &Evidence) -> Manifest {
        Manifest {
            format_version: PLAIN_FORMAT_VERSION,
            backup_id: self.id.clone(),
            group: self.group.clone(),
            state: self.state(),
            donor: self.donor(),
            method: match self.method {
                request::Method::Mariabackup => Method::Mariabackup,
                request::Method::XtrabackupV2 => Method::XtrabackupV2,
            },
            flavour: self.flavour(),
            versions: self.versions(summary),
            times: Times {
                started: self.started,
                requested: self.requested,
                first_byte: self.first_byte,
                received: self.received,
                stored: None,
            },
            totals: Totals {
                files: summary.files.len() as u64,
                file_bytes: summary.file_bytes(),
                data_bytes: summary.data_bytes,
                stream_bytes: summary.stream_bytes,
                stored_bytes: 0,
            },
            witnesses: self.witnesses(summary, evidence),
            storage: None,
        }
    }

    fn state(&self) -> StateSeen {
        match (&self.metadata, &self.transfer) {
            (Some(metadata), _) => {
                StateSeen { uuid: metadata.position.state, seqno_at_least: metadata.position.seqno }
            }
            (None, Some(transfer)) => StateSeen { uuid: transfer.state, seqno_at_least: -1 },
            (None, None) => StateSeen { uuid: galera_protocol::StateId::NIL, seqno_at_least: -1 },
        }
    }

    fn donor(&self) -> Donor {
        let transfer = self.transfer.as_ref();
        Donor {
            uuid: transfer.map_or(NodeId::NIL, |transfer| transfer.donor),
            name: transfer.map(|transfer| transfer.donor_name.to_string()).unwrap_or_default(),
            address: self.donor_address.map(|address| address.to_string()).unwrap_or_default(),
        }
    }

    fn versions(&self, summary: &StreamSummary) -> Versions {
        let is_summary = |name: &[u8]| matches!(name, b"xtrabackup_info" | b"mariadb_backup_info");
        let info = summary
            .about
            .iter()
            .find(|(path, _)| is_summary(path.file_name()))
            .map(|(_, text)| BackupInfo::parse(text))
            .unwrap_or_default();
        let told = self.metadata.as_ref().and_then(|metadata| metadata.server_version.clone());
        Versions {
            galera_sst: env!("CARGO_PKG_VERSION").to_owned(),
            server: info.server_version.or(told),
            tool_name: info.tool_name,
            tool: info.tool_version,
        }
    }

    fn transport(&self) -> TransportSeen {
        let end = if self.tls.is_some() { TransportEnd::CloseNotify } else { TransportEnd::Fin };
        TransportSeen { end, tls: self.tls.clone() }
    }

    fn witnesses(&self, summary: &StreamSummary, evidence: &Evidence) -> Witnesses {
        let completeness = &summary.completeness;
        Witnesses {
            stream: Witness {
                holds: true,
                seen: StreamSeen { files: summary.files.len() as u64, bytes: summary.stream_bytes },
            },
            closing_files: Witness {
                holds: completeness.is_complete(),
                seen: ClosingFilesSeen {
                    found: completeness.found.iter().map(ToString::to_string).collect(),
                    missing: completeness.gaps.iter().map(ToString::to_string).collect(),
                },
            },
            transport: Witness {
                holds: evidence.archive_bytes + self.kept_files().len() as u64
                    == summary.stream_bytes,
                seen: self.transport(),
            },
            group: self.donor_word.map(|(donor, join_code)| Witness {
                holds: join_code >= 0,
                seen: GroupSeen { donor, join_code },
            }),
            command: None,
            sink: None,
        }
    }
}

/// One file of a stream, in one chunk: it is small.
fn encode_file(file: &MetadataFile, stream: &mut Vec<u8>) {
    let path: Box<[u8]> = file.name.as_bytes().into();
    let extent = Extent {
        length: file.bytes.len() as u64,
        offset: 0,
        checksum: crc32fast::hash(&file.bytes),
    };
    let header = |body| ChunkHeader { flags: Flags(0), path: path.clone(), body };
    if !file.bytes.is_empty() {
        header(Body::Payload(extent)).encode(stream);
        stream.extend_from_slice(&file.bytes);
    }
    header(Body::End).encode(stream);
}
