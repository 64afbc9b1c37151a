//! Flags about where a backup goes, shared by `backup` and `dump`; the one place where a target
//! becomes a sink.

use std::path::PathBuf;
use std::time::Duration;

use super::store::{StoreArgs, UploadArgs};
use super::{seconds, talk};
use crate::config::{ByteSize, Target};
use crate::exit::ExitCode;
use crate::pipeline::manifest::BackupId;
use crate::repository::{
    ChunkConfig, ChunkedSink, PackConfig, PackSink, Recipients, RepositoryUrl, StoreOptions,
};
use crate::sink::any::AnySink;
use crate::sink::copies::{Copies, Policy};
use crate::sink::datadir::{Datadir, DatadirOptions};
use crate::sink::discard::Discard;
use crate::sink::raw::{CommandLine, Raw, RawTarget};
use crate::sink::spooled::{SpoolOptions, Spooled};
use crate::sink::tar::{Tar, TarOptions};
use crate::sink::{Sink, SinkError};

/// Where a backup goes, and how.
#[derive(Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// Where the backup goes: file:///DIR, s3://BUCKET/PREFIX, gs://…, az://…, datadir:DIR, tar:FILE, tar:-, xbstream:FILE, xbstream:-,
    /// exec:COMMAND or null:; may be given more than once
    #[arg(long, value_name = "SINK", required = true, help_heading = "Target")]
    to: Vec<Target>,
    /// Of several --to: how many must succeed
    #[arg(long, value_enum, default_value_t = Policy::All, help_heading = "Target")]
    to_policy: Policy,
    /// Where data waits while an object store is away, and a tar's files that cannot be written yet
    /// [default for a tar: beside it]
    #[arg(long, value_name = "DIR", help_heading = "Target")]
    spool: Option<PathBuf>,
    /// How much may wait there: bytes, or with K, M, G or T
    #[arg(long, value_name = "SIZE", default_value = "64G", help_heading = "Target")]
    spool_max: ByteSize,
    /// Limit for a command of exec: from the end of its input to its own, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds, help_heading = "Target")]
    command_timeout: Duration,
    /// How a repository holds the backup
    #[arg(long, value_enum, default_value_t = Layout::Packs, help_heading = "Target")]
    layout: Layout,
    /// zstd level of a repository's packs, 1 to 19, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = compression_level, help_heading = "Target")]
    compression_level: i32,
    /// Encrypt a repository's packs for this age recipient (age1…); may be given more than once
    #[arg(long, value_name = "RECIPIENT", help_heading = "Target")]
    recipient: Vec<String>,
    /// Store the key of a donor's encrypted tablespaces even where the target is not encrypted
    #[arg(long, help_heading = "Target")]
    allow_plain_keys: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    upload: UploadArgs,
}

/// `--layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Layout {
    /// Few large objects, compressed and perhaps encrypted
    Packs,
    /// What Percona's xbcloud get and operator read: each chunk of the stream an object
    Xbcloud,
}

/// What the sinks take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A donor's stream, taken apart into files.
    Stream,
    /// One file; commands get it as it is, and there is no data directory.
    File,
}

/// `none` is the level at which zstd copies: readers need not know another format.
fn compression_level(text: &str) -> Result<i32, String> {
    const NONE: i32 = -(1 << 17);
    match text.parse() {
        _ if text == "none" => Ok(NONE),
        Ok(level @ 1..=19) => Ok(level),
        Ok(_) | Err(_) => Err(format!("{text} is neither a level from 1 to 19 nor none")),
    }
}

impl TargetArgs {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self, content: Content) -> Result<(), ExitCode> {
        let refuse = |sentence: &str| {
            talk::say(&format!("galera-sst: {sentence}"));
            Err(ExitCode::Usage)
        };
        if self.to.iter().filter(|target| target.is_stdout()).count() > 1 {
            return refuse("only one --to can be standard output");
        }
        if self.layout == Layout::Xbcloud && !self.recipient.is_empty() {
            return refuse(
                "--layout xbcloud has no encryption; leave --recipient out or take packs",
            );
        }
        if self.layout == Layout::Xbcloud && content == Content::File {
            return refuse("--layout xbcloud is for physical backups; take packs");
        }
        let has_datadir = self.to.iter().any(|target| matches!(target, Target::Datadir(_)));
        match content {
            Content::File if has_datadir => {
                refuse("a dump is no data directory: choose another --to than datadir:")
            }
            Content::File | Content::Stream => Ok(()),
        }
    }

    /// Whether what opens a donor's encrypted tablespaces may be stored with them: everywhere it must
    /// be encrypted, unless the operator does not mind.
    pub(super) fn keys_may_be_stored(&self) -> bool {
        let is_protected = |target: &Target| match target {
            Target::Repository(_) => !self.recipient.is_empty(),
            Target::Null => true,
            Target::Datadir(_) | Target::Stream(_) | Target::Tar(_) | Target::Command(_) => false,
        };
        self.allow_plain_keys || self.to.iter().all(is_protected)
    }

    /// The repositories among the targets, and how to reach them.
    pub(super) fn repositories(&self) -> (Vec<RepositoryUrl>, StoreOptions) {
        let urls = self.to.iter().filter_map(|target| match target {
            Target::Repository(url) => Some(url.clone()),
            Target::Datadir(_)
            | Target::Stream(_)
            | Target::Tar(_)
            | Target::Command(_)
            | Target::Null => None,
        });
        (urls.collect(), self.store.options())
    }

    /// Opens every target.
    pub(super) async fn open(
        &self,
        id: &BackupId,
        content: Content,
    ) -> Result<Copies<AnySink>, SinkError> {
        let store = StoreOptions { upload_limit: self.upload.limit(), ..self.store.options() };
        let mut opened = Vec::new();
        for target in &self.to {
            opened.push((target.to_string(), self.sink(target, id, content, &store).await));
        }
        Copies::new(opened, self.to_policy).await
    }

    async fn sink(
        &self,
        target: &Target,
        id: &BackupId,
        content: Content,
        store: &StoreOptions,
    ) -> Result<AnySink, SinkError> {
        Ok(match target {
            Target::Repository(url) if self.layout == Layout::Xbcloud => {
                let chunks = self.chunks(url, id, store).await?;
                let spooled = |sink| AnySink::SpooledChunks(Box::new(sink));
                let plain = |sink| AnySink::Chunks(Box::new(sink));
                self.behind_spool(url, chunks, plain, spooled).await?
            }
            Target::Repository(url) => {
                let packs = self.packs(url, id, store).await?;
                let spooled = |sink| AnySink::Spooled(Box::new(sink));
                let plain = |sink| AnySink::Packs(Box::new(sink));
                self.behind_spool(url, packs, plain, spooled).await?
            }
            Target::Datadir(target) => {
                let options = DatadirOptions { target: target.clone(), sync: true };
                AnySink::Datadir(Box::new(Datadir::create(options).await?))
            }
            Target::Stream(target) => {
                let raw = Raw::create(target.clone(), true).await?;
                AnySink::Raw(Box::new(match content {
                    Content::Stream => raw,
                    Content::File => raw.of_files(),
                }))
            }
            Target::Command(command) => {
                let target = RawTarget::Command(self.command_line(command, id));
                AnySink::Raw(Box::new(Raw::create(target, true).await?))
            }
            Target::Tar(target) => {
                let options = TarOptions {
                    target: target.clone(),
                    spool: self.spool.clone(),
                    spool_bytes_max: self.spool_max.0,
                    sync: true,
                };
                AnySink::Tar(Box::new(Tar::create(options).await?))
            }
            Target::Null => AnySink::Discard(Discard),
        })
    }

    fn command_line(&self, command: &str, id: &BackupId) -> CommandLine {
        CommandLine {
            command: command.to_owned(),
            arguments: Vec::new(),
            environment: vec![("GALERA_SST_BACKUP_ID".into(), id.to_string())],
            limit: self.command_timeout,
        }
    }

    /// With `--spool`, an object store may be away for a while.
    async fn behind_spool<S>(
        &self,
        url: &RepositoryUrl,
        sink: S,
        plain: impl FnOnce(S) -> AnySink,
        spooled: impl FnOnce(Spooled<S>) -> AnySink,
    ) -> Result<AnySink, SinkError>
    where
        S: Sink<File: 'static> + 'static,
    {
        let (RepositoryUrl::Cloud(_), Some(directory)) = (url, self.spool.clone()) else {
            return Ok(plain(sink));
        };
        let options = SpoolOptions { directory, bytes_max: self.spool_max.0 };
        match Spooled::new(sink, options).await {
            Ok(sink) => Ok(spooled(sink)),
            Err((sink, error)) => {
                sink.abort().await;
                Err(error)
            }
        }
    }

    async fn chunks(
        &self,
        url: &RepositoryUrl,
        id: &BackupId,
        store: &StoreOptions,
    ) -> Result<ChunkedSink, SinkError> {
        let upload = self.upload.config();
        let chunks = ChunkConfig {
            chunks_in_flight: upload.parts_in_flight,
            upload,
            store: store.clone(),
            ..Default::default()
        };
        ChunkedSink::create(url, id.clone(), chunks).await
    }

    async fn packs(
        &self,
        url: &RepositoryUrl,
        id: &BackupId,
        store: &StoreOptions,
    ) -> Result<PackSink, SinkError> {
        let recipients = Recipients::parse(self.recipient.iter().map(String::as_str));
        let recipients = recipients.map_err(|error| SinkError::Create {
            target: url.to_string(),
            source: std::io::Error::other(error),
        })?;
        let packs = PackConfig {
            compression_level: self.compression_level,
            recipients,
            store: store.clone(),
            upload: self.upload.config(),
            ..Default::default()
        };
        PackSink::create(url, id.clone(), packs).await
    }
}
