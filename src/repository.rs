//! A place that holds many backups: packs, index, manifest (`docs/format.md`).
//!
//! ```text
//! <repository>/<backup id>/packs/000000.zst …   the files' bytes, interleaved as they came
//!                         /index.zst            which bytes of which pack make up which file
//!                         /manifest.json        last, create-only: with it the backup exists
//! ```
//!
//! [`PackSink`] writes a backup; [`Repository`] lists them and opens one as a [`Backup`], which is
//! read, verified and restored in parallel with bounded memory. A prefix without a manifest is
//! nothing: an unfinished or failed backup, for `prune` to sweep.
//!
//! That is layout `packs`. The other one, `xbcloud`, is Percona's: `docs/xbcloud.md`.

mod cat;
mod compress;
mod copy;
mod error;
#[cfg(test)]
mod faulty;
mod index;
mod lanes;
mod pack;
mod plan;
mod prune;
mod pump;
mod reader;
mod seal;
mod store;
mod upload;
mod url;
mod verify;
mod writer;
mod xbcloud;

pub use copy::{Copied, CopyTarget};
pub use error::{Fault, RepositoryError};
pub use index::{FileRecord, Index};
pub(crate) use plan::{Plan, PlannedFile};
pub use prune::{KeepRules, PruneConfig, Pruned};
pub(crate) use pump::Target;
pub use pump::{ReadConfig, ReadProgress};
pub use reader::{Backup, Listed, Repository};
pub use seal::{Identities, KeyError, Recipients};
pub use store::{Addressing, Environment, NoContact, StoreOptions};
pub use upload::UploadConfig;
pub use url::{Cloud, CloudKind, RepositoryUrl, RepositoryUrlError};
pub use verify::VerifyReport;
pub use writer::{PackConfig, PackFile, PackSink};
pub use xbcloud::{ChunkConfig, ChunkedBackup, ChunkedFile, ChunkedSink, Foreign, Stored};

use crate::pipeline::manifest::BackupId;

/// Name of the layout in the manifest.
const LAYOUT: &str = "packs";
const MANIFEST_NAME: &str = "manifest.json";
const INDEX_NAME: &str = "index.zst";
/// The list of files of an encrypted backup.
const FILES_NAME: &str = "files.zst.age";
/// An empty object that is there while a backup is being written.
const STARTED_NAME: &str = "started";

/// Name of a backup's object below the repository.
fn object_name(id: &BackupId, name: &str) -> String {
    format!("{id}/{name}")
}
