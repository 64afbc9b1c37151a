//! `restore`, `list`, `show`, `verify`: what is done with stored backups.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use galera_protocol::xbstream::{EntryPath, PathError};
use indicatif::HumanBytes;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::signals::Stop;
use super::stash::StashArgs;
use super::store::StoreArgs;
use super::{Output, talk};
use crate::dump::LoadError;
use crate::exit::ExitCode;
use crate::pages::FilePages;
use crate::pipeline::manifest::{BackupId, Method};
use crate::repository::{
    Backup, Foreign, Identities, KeyError, Listed, NoContact, ReadConfig, ReadProgress, Repository,
    RepositoryError, RepositoryUrl, Stored, VerifyReport,
};
use crate::restore::{
    self, FinishConfig, Modes, Owner, PrepareConfig, RestoreConfig, RestoreError, Restored, Role,
    StreamSource,
};
use crate::unpack::Key;

/// Time between two lines of progress.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    select: SelectArgs,
    /// The data directory to make; it must not exist or be empty [with --from datadir:DIR: DIR itself]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Replace a data directory that is not empty, at the end and in one step
    #[arg(long)]
    force: bool,
    /// Run mariadb-backup or xtrabackup --prepare, so that a server can start
    #[arg(long)]
    prepare: bool,
    /// Let the restored node start the cluster (safe_to_bootstrap: 1)
    #[arg(long, requires = "prepare", conflicts_with = "ordinal")]
    bootstrap: bool,
    /// One of several nodes restored from this backup: 0 starts the cluster, the others join by IST
    #[arg(long, value_name = "N", requires = "prepare")]
    ordinal: Option<u32>,
    /// Whom the files shall belong to, by names or numbers [default: as the existing directory, or ourselves]
    #[arg(long, value_name = "USER:GROUP", value_parser = owner)]
    owner: Option<Owner>,
    /// Mode of the files, octal
    #[arg(long, value_name = "MODE", default_value = "640", value_parser = mode)]
    file_mode: u32,
    /// Mode of the directories, octal
    #[arg(long, value_name = "MODE", default_value = "750", value_parser = mode)]
    dir_mode: u32,
    /// Threads that decompress, check and write [default: one for each processor, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// The program that prepares [default: mariadb-backup or xtrabackup in PATH]
    #[arg(long, value_name = "FILE", requires = "prepare")]
    prepare_tool: Option<PathBuf>,
    /// Memory for preparing, in bytes
    #[arg(long, value_name = "BYTES", requires = "prepare")]
    prepare_memory: Option<u64>,
    /// Further argument for the program that prepares; may be given more than once
    #[arg(long, value_name = "ARGUMENT", requires = "prepare", allow_hyphen_values = true)]
    prepare_argument: Vec<OsString>,
    /// Argument that names the new server's keyring, for backups with encrypted tablespaces, as
    /// --component-keyring-config=FILE; may be given more than once
    #[arg(long, value_name = "ARGUMENT", requires = "prepare", allow_hyphen_values = true)]
    move_back_argument: Vec<OsString>,
    /// File with the key of files that the donor's backup program encrypted one by one (.xbcrypt)
    #[arg(long, value_name = "FILE", requires = "prepare")]
    decrypt_key_file: Option<PathBuf>,
    /// Prepare with a program of another release series than the backup's
    #[arg(long, requires = "prepare")]
    any_tool_version: bool,
    /// Server to ask for the position where preparing does not tell it [default: in PATH]
    #[arg(long, value_name = "FILE")]
    server_binary: Option<PathBuf>,
    #[command(flatten)]
    stash: StashArgs,
}

/// Which backup.
#[derive(Debug, clap::Args)]
pub(super) struct SelectArgs {
    /// The repository: file:///DIR, s3://BUCKET/PREFIX, gs://…, az://…, with #ID to name one backup. For `restore` also xbstream:FILE and
    /// tar:FILE (- for standard input), and datadir:DIR, which is finished in place
    #[arg(long, value_name = "REPOSITORY")]
    from: String,
    /// The backup's id, or `latest`
    #[arg(long, value_name = "ID", default_value = "latest")]
    id: String,
    /// File with the age identities that open an encrypted backup
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// The repository: file:///DIR, s3://BUCKET/PREFIX, gs://… or az://…
    #[arg(long, value_name = "REPOSITORY", value_parser = RepositoryUrl::parse)]
    from: RepositoryUrl,
    #[command(flatten)]
    store: StoreArgs,
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Check the checksum of each page of InnoDB's files as well
    #[arg(long)]
    pages: bool,
    /// List each bad page: file, tablespace, page, what is wrong
    #[arg(long, requires = "pages")]
    page_list: bool,
}

/// Arguments of `cat`.
#[derive(Debug, clap::Args)]
pub(super) struct CatArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// The file, as `show --output json` or the server names it: relative to the data directory
    #[arg(value_name = "FILE")]
    file: String,
}

fn owner(text: &str) -> Result<Owner, String> {
    let (user, group) = text.split_once(':').ok_or_else(|| format!("{text} is not USER:GROUP"))?;
    let unknown = |kind: &str, name: &str| format!("no {kind} {name} on this machine");
    let uid = match user.parse() {
        Ok(uid) => uid,
        Err(_) => match nix::unistd::User::from_name(user) {
            Ok(Some(user)) => user.uid.as_raw(),
            Ok(None) | Err(_) => return Err(unknown("user", user)),
        },
    };
    let gid = match group.parse() {
        Ok(gid) => gid,
        Err(_) => match nix::unistd::Group::from_name(group) {
            Ok(Some(group)) => group.gid.as_raw(),
            Ok(None) | Err(_) => return Err(unknown("group", group)),
        },
    };
    Ok(Owner { uid, gid })
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("{text} is no octal mode, as 640"))
}

/// Why a stored backup could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("--to is needed: the data directory to make")]
    NoTarget,
    #[error("--to is not for --from datadir:DIR, which is finished where it is")]
    Elsewhere,
    #[error("--from")]
    Url(#[from] crate::repository::RepositoryUrlError),
    #[error("--identity-file")]
    Key(#[from] KeyError),
    #[error("--decrypt-key-file {path}")]
    DecryptKeyFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("--decrypt-key-file {path}")]
    DecryptKey {
        path: String,
        #[source]
        source: crate::unpack::KeyError,
    },
    #[error("--id {0:?} is neither a backup's id nor `latest`")]
    Id(String),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("file name {name:?}")]
    Path {
        name: String,
        #[source]
        source: PathError,
    },
    #[error("write to standard output")]
    Output(#[source] std::io::Error),
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    #[error("stopped before the restore was complete")]
    Stopped(ExitCode),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("backup {0} is a dump: `galera-sst load` gives it to a client")]
    Dump(BackupId),
    #[error("{0} is in layout xbcloud, which holds physical backups; use restore")]
    Chunks(BackupId),
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoTarget | Self::Elsewhere | Self::Url(_) | Self::Id(_) | Self::Path { .. } => {
                ExitCode::Usage
            }
            Self::Key(_) | Self::DecryptKeyFile { .. } | Self::DecryptKey { .. } => {
                ExitCode::Configuration
            }
            Self::Output(_) => ExitCode::SinkFailed,
            Self::Repository(error) => ExitCode::from_number(error.exit_code()),
            Self::Restore(error) => ExitCode::from_number(error.exit_code()),
            Self::Load(error) => error.exit_code(),
            Self::Dump(_) | Self::Chunks(_) => ExitCode::Usage,
            Self::Signals(_) => ExitCode::Other,
            Self::Stopped(code) => *code,
        }
    }
}

/// Runs `answer` and turns its failure into one sentence and the exit code.
pub(super) fn conclude(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let remedy = NoContact::behind(&error).map(NoContact::remedy);
        talk::fail_with_remedy(&error, remedy, error.exit_code())
    })
}

impl SelectArgs {
    /// Opens it; of layout `packs` alone.
    pub(super) async fn open_packs(&self) -> Result<Backup, Error> {
        match self.open().await? {
            Stored::Packs(backup) => Ok(backup),
            Stored::Chunks(backup) => Err(Error::Chunks(backup.id().clone())),
        }
    }

    async fn open(&self) -> Result<Stored, Error> {
        let (url, fragment) = match self.from.split_once('#') {
            Some((url, id)) => (url, Some(id)),
            None => (self.from.as_str(), None),
        };
        let repository =
            Repository::open_with(&RepositoryUrl::parse(url)?, &self.store.options()).await?;
        let identities = self.identity_file.as_deref().map(Identities::read).transpose()?;
        let repository = repository.with_identities(identities.unwrap_or_default());
        let id = match fragment.unwrap_or(&self.id) {
            "latest" => repository.latest().await?,
            id => BackupId::foreign(id).ok_or_else(|| Error::Id(id.to_owned()))?,
        };
        Ok(repository.open_backup(&id).await?)
    }
}

impl Args {
    fn config(
        &self,
        target: PathBuf,
        progress: &Arc<ReadProgress>,
    ) -> Result<RestoreConfig, Error> {
        Ok(RestoreConfig {
            target,
            force: self.force,
            finish: self.finish_config()?,
            read: self.read_config(progress),
        })
    }

    fn read_config(&self, progress: &Arc<ReadProgress>) -> ReadConfig {
        let default = ReadConfig::default();
        ReadConfig {
            workers: self.jobs.map_or(default.workers, usize::from),
            progress: Arc::clone(progress),
            ..default
        }
    }

    fn finish_config(&self) -> Result<FinishConfig, Error> {
        let mut finish = FinishConfig {
            prepare: self.prepare.then(|| self.prepare_config()).transpose()?,
            role: self.role(),
            owner: self.owner,
            modes: Modes { file: self.file_mode, directory: self.dir_mode },
            ..FinishConfig::default()
        };
        finish.position.server.clone_from(&self.server_binary);
        Ok(finish)
    }

    fn role(&self) -> Option<Role> {
        match (self.bootstrap, self.ordinal) {
            (true, _) => Some(Role::Bootstrap),
            (false, Some(ordinal)) => Some(Role::Ordinal(ordinal)),
            (false, None) => None,
        }
    }

    fn prepare_config(&self) -> Result<PrepareConfig, Error> {
        Ok(PrepareConfig {
            tool: self.prepare_tool.clone(),
            any_tool_version: self.any_tool_version,
            use_memory_bytes: self.prepare_memory,
            extra_arguments: self.prepare_argument.clone(),
            move_back_arguments: self.move_back_argument.clone(),
            key: self.decrypt_key_file.as_deref().map(decrypt_key).transpose()?,
            ..PrepareConfig::default()
        })
    }
}

fn decrypt_key(path: &Path) -> Result<Arc<Key>, Error> {
    let name = || path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|source| Error::DecryptKeyFile { path: name(), source })?;
    let key = Key::new(bytes).map_err(|source| Error::DecryptKey { path: name(), source })?;
    Ok(Arc::new(key))
}

/// Runs `restore`.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    let (stash, started) = (args.stash.clone(), Instant::now());
    let restored = from_anywhere(args, output).await;
    let error = restored.as_ref().err().map(|error| talk::sentence(error));
    let is_told = stash.tell_restore(error.as_deref(), started.elapsed());
    let code = conclude(restored);
    if is_told { ExitCode::Success } else { code }
}

async fn from_anywhere(args: Args, output: Output) -> Result<ExitCode, Error> {
    let file = |kind: &str| args.select.from.strip_prefix(kind).map(PathBuf::from);
    match (file("datadir:"), file("xbstream:"), file("tar:")) {
        (Some(directory), ..) => finish_in_place(args, &directory, output).await,
        (_, Some(stream), _) => restore_file(args, StreamSource::Xbstream(stream), output).await,
        (_, _, Some(archive)) => restore_file(args, StreamSource::Tar(archive), output).await,
        (None, None, None) => restore(args, output).await,
    }
}

/// What `backup --to datadir:` made needs only what comes after the files.
async fn finish_in_place(args: Args, directory: &Path, output: Output) -> Result<ExitCode, Error> {
    if args.to.is_some() {
        return Err(Error::Elsewhere);
    }
    let stop = Stop::listen().map_err(Error::Signals)?;
    let config = args.finish_config()?;
    let finished = tokio::select! {
        finished = restore::finish_directory(directory, &config) => finished?,
        code = stop.requested() => return Err(Error::Stopped(code)),
    };
    answer_restored(&finished, None, output);
    Ok(ExitCode::Success)
}

/// What `backup --to xbstream:` or `--to tar:` made.
async fn restore_file(args: Args, source: StreamSource, output: Output) -> Result<ExitCode, Error> {
    let stop = Stop::listen().map_err(Error::Signals)?;
    let target = args.to.clone().ok_or(Error::NoTarget)?;
    talk::say(&format!("restoring {} into {}", args.select.from, target.display()));
    let config = args.config(target, &Arc::default())?;
    let restored = tokio::select! {
        restored = restore::restore_stream(&source, &config) => restored?,
        code = stop.requested() => return Err(Error::Stopped(code)),
    };
    answer_restored(&restored, None, output);
    Ok(ExitCode::Success)
}

async fn restore(args: Args, output: Output) -> Result<ExitCode, Error> {
    let stop = Stop::listen().map_err(Error::Signals)?;
    let target = args.to.clone().ok_or(Error::NoTarget)?;
    let backup = args.select.open().await?;
    if backup.manifest().is_some_and(|manifest| manifest.method == Method::Dump) {
        return Err(Error::Dump(backup.id().clone()));
    }
    let progress = Arc::default();
    talk::say(&format!("restoring {} into {}", backup.id(), target.display()));
    let config = args.config(target, &progress)?;
    let ended = CancellationToken::new();
    let shown = tokio::spawn(show(Arc::clone(&progress), ended.clone()));
    let restored = tokio::select! {
        restored = restore_stored(&backup, &config) => restored.map_err(Error::from),
        code = stop.requested() => Err(Error::Stopped(code)),
    };
    ended.cancel();
    let _ = shown.await;
    answer_restored(&restored?, Some(backup.id()), output);
    Ok(ExitCode::Success)
}

async fn restore_stored(backup: &Stored, config: &RestoreConfig) -> Result<Restored, RestoreError> {
    match backup {
        Stored::Packs(backup) => restore::restore(backup, config).await,
        Stored::Chunks(backup) => restore::restore_chunks(backup, config).await,
    }
}

/// A line every few seconds until `ended`.
async fn show(progress: Arc<ReadProgress>, ended: CancellationToken) {
    let mut tick = tokio::time::interval(LINE_PERIOD);
    tick.tick().await;
    while ended.run_until_cancelled(tick.tick()).await.is_some() {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        talk::say(&format!(
            "{} of {}, {} of {} files",
            HumanBytes(load(&progress.bytes)),
            HumanBytes(load(&progress.bytes_total)),
            load(&progress.files),
            load(&progress.files_total),
        ));
    }
}

fn answer_restored(restored: &Restored, id: Option<&BackupId>, output: Output) {
    let id = id.map(BackupId::to_string);
    let directory = restored.directory.display().to_string();
    match output {
        Output::Json => talk::answer(
            &serde_json::json!({
                "directory": directory,
                "backup_id": id,
                "uuid": restored.position.as_ref().map(|position| position.uuid.to_string()),
                "seqno": restored.position.as_ref().map(|position| position.seqno),
            })
            .to_string(),
        ),
        Output::Text => talk::answer(&match &restored.position {
            Some(position) => {
                format!("restored {} into {directory}, at {position}", name(&id))
            }
            None => format!(
                "restored {} into {directory}, not prepared: no server can start from it yet",
                name(&id)
            ),
        }),
    }
}

fn name(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or("the backup")
}

/// Runs `list`.
pub(super) async fn list(args: ListArgs, output: Output) -> ExitCode {
    let listed = async {
        let repository = Repository::open_with(&args.from, &args.store.options()).await?;
        Ok((repository.list().await?, repository.list_foreign().await?))
    };
    let listed: Result<_, RepositoryError> = listed.await;
    conclude(listed.map_err(Error::from).map(|(ours, mut foreign)| {
        foreign.retain(|backup| backup.fault.is_none());
        answer_list(&ours, &foreign, output)
    }))
}

/// A backup whose manifest cannot be read is shown and makes the answer a failure.
fn answer_list(listed: &[Listed], foreign: &[Foreign], output: Output) -> ExitCode {
    let mut code = ExitCode::Success;
    let mut rows = Vec::new();
    for backup in listed {
        match &backup.manifest {
            Ok(manifest) => rows.push((backup, manifest)),
            Err(error) => code = talk::fail(error, ExitCode::from_number(error.exit_code())),
        }
    }
    match output {
        Output::Json => {
            let ours = rows.iter().map(|(_, manifest)| serde_json::json!(manifest));
            let foreign = foreign.iter().map(|backup| serde_json::json!(backup));
            let all: Vec<_> = ours.chain(foreign).collect();
            talk::answer(&serde_json::json!(all).to_string());
        }
        Output::Text => {
            rows.iter().for_each(|(backup, manifest)| {
                talk::answer(&format!(
                    "{}  {}  {}  {}  {}:{}",
                    backup.id,
                    manifest.group,
                    manifest.donor.name,
                    HumanBytes(manifest.totals.file_bytes),
                    manifest.state.uuid,
                    manifest.state.seqno_at_least,
                ));
            });
            for backup in foreign {
                talk::answer(&format!(
                    "{}  {}  by another program  {}  stored {}",
                    backup.backup_id,
                    backup.cluster.as_deref().unwrap_or("-"),
                    HumanBytes(backup.stored_bytes),
                    backup.stored,
                ));
            }
        }
    }
    code
}

/// Runs `show`.
pub(super) async fn show_manifest(args: SelectArgs) -> ExitCode {
    let shown = async {
        let shown = match args.open().await? {
            Stored::Packs(backup) => serde_json::json!(backup.manifest()),
            Stored::Chunks(backup) => match backup.manifest() {
                Some(manifest) => serde_json::json!(manifest),
                None => serde_json::json!({
                    "backup": backup.describe(),
                    "summary": backup.summary().await,
                }),
            },
        };
        talk::answer(&serde_json::to_string_pretty(&shown).unwrap_or_default());
        Ok(ExitCode::Success)
    };
    conclude(shown.await)
}

/// Runs `verify`.
pub(super) async fn verify(args: VerifyArgs, output: Output) -> ExitCode {
    conclude(verified(args, output).await)
}

async fn verified(args: VerifyArgs, output: Output) -> Result<ExitCode, Error> {
    let backup = args.select.open().await?;
    let config = ReadConfig::default();
    let (report, parts) = match (&backup, args.pages) {
        (Stored::Packs(backup), false) => (backup.verify(&config).await?, "packs"),
        (Stored::Packs(backup), true) => (backup.verify_pages(&config).await?, "packs"),
        (Stored::Chunks(backup), false) => (backup.verify(&config).await?, "chunks"),
        (Stored::Chunks(backup), true) => (backup.verify_pages(&config).await?, "chunks"),
    };
    for note in &report.notes {
        talk::say(&format!("note: {note}"));
    }
    for damage in &report.damage {
        talk::say(&talk::sentence(damage));
    }
    match output {
        Output::Json => answer_verified_json(backup.id(), &report, parts),
        Output::Text => answer_verified(backup.id(), &report, parts, args.page_list),
    }
    Ok(if report.is_sound() { ExitCode::Success } else { ExitCode::BadData })
}

fn answer_verified_json(id: &BackupId, report: &VerifyReport, parts: &str) {
    let damage: Vec<_> = report.damage.iter().map(|damage| talk::sentence(damage)).collect();
    talk::answer(
        &serde_json::json!({
            "backup_id": id,
            "sound": report.is_sound(),
            parts: report.packs,
            "files": report.files,
            "bytes": report.bytes,
            "notes": report.notes,
            "damage": damage,
            "pages": report.pages,
        })
        .to_string(),
    );
}

fn answer_verified(id: &BackupId, report: &VerifyReport, parts: &str, list: bool) {
    if let Some(pages) = &report.pages {
        answer_pages(pages, list);
    }
    talk::answer(&if report.is_sound() {
        let VerifyReport { files, bytes, packs, .. } = report;
        format!("backup {id} is sound: {files} files, {bytes} bytes in {packs} {parts}")
    } else {
        format!("backup {id} is damaged")
    });
}

fn answer_pages(pages: &[FilePages], list: bool) {
    for file in pages {
        if let (Some(why), count) = (file.why_unchecked, file.unchecked) {
            talk::say(&format!("{}: {count} pages not checked: {why}", file.path));
        }
        if file.bad > 0 {
            talk::say(&format!("{}: {} bad pages", file.path, file.bad));
        }
        let space = file.space_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        for bad in file.bad_pages.iter().filter(|_| list) {
            talk::answer(&format!("{}\t{space}\t{}\t{}", file.path, bad.page, bad.fault));
        }
    }
    let sum = |count: fn(&FilePages) -> u64| pages.iter().map(count).sum::<u64>();
    talk::answer(&format!(
        "pages of {} files: {} sound, {} bad, {} not checked",
        pages.len(),
        sum(|file| file.sound),
        sum(|file| file.bad),
        sum(|file| file.unchecked),
    ));
}

/// Runs `cat`.
pub(super) async fn cat(args: CatArgs) -> ExitCode {
    conclude(write_file(args).await.map(|()| ExitCode::Success))
}

async fn write_file(args: CatArgs) -> Result<(), Error> {
    let path = EntryPath::parse(args.file.as_bytes())
        .map_err(|source| Error::Path { name: args.file.clone(), source })?;
    match args.select.open().await? {
        Stored::Packs(backup) => write_pieces(backup.read_file(&path)?).await,
        Stored::Chunks(backup) => write_pieces(backup.read_file(&path)?).await,
    }
}

async fn write_pieces(
    pieces: impl Stream<Item = Result<Bytes, RepositoryError>>,
) -> Result<(), Error> {
    tokio::pin!(pieces);
    let mut output = tokio::io::stdout();
    while let Some(piece) = pieces.try_next().await? {
        output.write_all(&piece).await.map_err(Error::Output)?;
    }
    output.flush().await.map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_names_or_numbers() {
        assert_eq!(owner("999:0"), Ok(Owner { uid: 999, gid: 0 }));
        assert_eq!(owner("root:root"), Ok(Owner { uid: 0, gid: 0 }));
        assert_eq!(owner("no-such-user:0").unwrap_err(), "no user no-such-user on this machine");
        assert!(owner("root").is_err() && owner(":").is_err());
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("2770"), Ok(0o2770));
        assert!(mode("0x1ff").is_err() && mode("17777").is_err() && mode("888").is_err());
    }
}
