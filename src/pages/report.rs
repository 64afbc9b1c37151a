//! What became of a file's pages.

use galera_protocol::xbstream::EntryPath;
use serde::{Serialize, Serializer};

use super::checksum::PageFault;

/// Bad pages of a file that are listed; more are only counted.
pub(super) const LISTED_MAX: usize = 10_000;

/// Why pages were not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unchecked {
    /// Compressed page by page.
    #[error("compressed")]
    Compressed,
    /// Encrypted.
    #[error("encrypted")]
    Encrypted,
    /// The place where the server keeps copies of pages that it is about to write.
    #[error("copies in the doublewrite buffer")]
    Doublewrite,
    /// Nothing tells how large pages are: no first page, or one of another kind.
    #[error("no header that tells the format")]
    UnknownFormat,
    /// The backup tool's own compression or encryption could not be taken off.
    #[error("packed by the backup tool")]
    Packed,
}

/// The pages of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilePages {
    /// The file.
    #[serde(serialize_with = "as_text")]
    pub path: EntryPath,
    /// Id of its tablespace; none if no page told.
    pub space_id: Option<u32>,
    /// Size of its pages; none if that is not known.
    pub page_bytes: Option<usize>,
    /// Pages with a right checksum, and empty ones.
    pub sound: u64,
    /// Pages that were not checked.
    pub unchecked: u64,
    /// Why: the first reason met.
    pub why_unchecked: Option<Unchecked>,
    /// Bad pages in all.
    pub bad: u64,
    /// The first of them.
    pub bad_pages: Vec<BadPage>,
}

/// A page that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BadPage {
    /// Its number, counted from 0.
    pub page: u64,
    /// What is wrong with it.
    pub fault: PageFault,
}

impl FilePages {
    pub(super) fn new(path: EntryPath) -> Self {
        Self {
            path,
            space_id: None,
            page_bytes: None,
            sound: 0,
            unchecked: 0,
            why_unchecked: None,
            bad: 0,
            bad_pages: Vec::new(),
        }
    }

    pub(super) fn note_unchecked(&mut self, why: Unchecked) {
        self.unchecked += 1;
        self.why_unchecked.get_or_insert(why);
    }

    pub(super) fn note_bad(&mut self, page: u64, fault: PageFault) {
        self.bad += 1;
        if self.bad_pages.len() < LISTED_MAX {
            self.bad_pages.push(BadPage { page, fault });
        }
    }
}

fn as_text<S: Serializer>(path: &EntryPath, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(path)
}
