//! Re-checks every chunk of a backup, file by file: a damaged one does not hide the next.

use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use galera_protocol::xbstream::completeness::KEPT_BYTES_MAX;
use galera_protocol::xbstream::{
    ClosingFile, ClosingFiles, EntryPath, Event, Expected, Reader, ReaderConfig, StreamError,
};

use super::read::{Checker, RANGES_AHEAD, Segment, Segments, fetch};
use super::reader::ChunkedBackup;
use crate::pages::{FilePages, Scan, is_innodb_file};
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::pump::ReadConfig;
use crate::repository::verify::VerifyReport;

/// Damage that is kept; more is only counted.
const DAMAGE_MAX: usize = 1000;

/// What xbcloud's layout cannot tell by itself.
const NO_SUMS: &str = "there is no list of sums (.md5): a file that is missing altogether, or one that was replaced by \
    another whole one, would not be noticed";
const NO_MANIFEST: &str =
    "another program wrote this backup: what the donor said at its end is not known";

struct Verify {
    backup: ChunkedBackup,
    checker: Checker,
    file: FileCheck,
    info: Option<Bytes>,
    sizes: Vec<(EntryPath, u64)>,
    damage: Vec<RepositoryError>,
    pages: Option<Vec<FilePages>>,
}

/// One file being read.
struct FileCheck {
    reader: Reader,
    is_damaged: bool,
    bytes: u64,
    /// Content of the info file.
    info: Option<BytesMut>,
    scan: Option<Scan>,
}

impl FileCheck {
    fn new(path: Option<&EntryPath>, pages: bool) -> Self {
        let scanned = path.filter(|path| pages && is_innodb_file(path));
        let is_info = path.and_then(ClosingFile::from_path) == Some(ClosingFile::Info);
        Self {
            reader: Reader::new(ReaderConfig::default()),
            is_damaged: false,
            bytes: 0,
            info: is_info.then(BytesMut::new),
            scan: scanned.map(Scan::new),
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<(), StreamError> {
        while let Some(event) = self.reader.read(&mut bytes)? {
            if let (Event::Hole { length, .. }, Some(scan)) = (&event, &mut self.scan) {
                scan.skip(*length);
            }
            if let Event::Data { bytes, .. } = event {
                self.bytes += bytes.len() as u64;
                if let Some(scan) = &mut self.scan {
                    scan.write(&bytes);
                }
                self.info.take_if(|info| info.len() + bytes.len() > KEPT_BYTES_MAX);
                if let Some(info) = &mut self.info {
                    info.extend_from_slice(&bytes);
                }
            }
        }
        Ok(())
    }
}

impl ChunkedBackup {
    /// Reads every chunk and checks it, its sum where there is one, and the files that close a backup.
    ///
    /// Damage is reported, not returned as an error; an error means that checking was not possible.
    pub async fn verify(&self, config: &ReadConfig) -> Result<VerifyReport, RepositoryError> {
        self.check(config, false).await
    }

    /// The same, and the pages of InnoDB's files in one go.
    pub async fn verify_pages(&self, config: &ReadConfig) -> Result<VerifyReport, RepositoryError> {
        self.check(config, true).await
    }

    async fn check(
        &self,
        config: &ReadConfig,
        pages: bool,
    ) -> Result<VerifyReport, RepositoryError> {
        let listing = self.listing();
        config.progress.bytes_total.store(listing.bytes, Ordering::Relaxed);
        config.progress.files_total.store(listing.files.len() as u64, Ordering::Relaxed);
        let mut verify = Verify::new(self, pages);
        let mut fetched = Box::pin(fetch(self, Segments::of_all(self), RANGES_AHEAD));
        while let Some((segment, bytes)) = fetched.next().await {
            verify.take(&segment, bytes).await;
            let bytes = segment.range.end - segment.range.start;
            config.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            config.progress.files.fetch_add(u64::from(segment.ends_file), Ordering::Relaxed);
        }
        Ok(verify.report())
    }
}

impl Verify {
    fn new(backup: &ChunkedBackup, pages: bool) -> Self {
        let first = (!backup.listing().files.is_empty()).then(|| backup.path(0));
        let mut verify = Self {
            backup: backup.clone(),
            checker: Checker::new(backup),
            file: FileCheck::new(first, pages),
            info: None,
            sizes: Vec::new(),
            damage: Vec::new(),
            pages: pages.then(Vec::new),
        };
        if let Some((path, fault)) = backup.listing().first_damage() {
            verify.note(&path, fault);
        }
        for path in backup.inner.unlisted() {
            verify.note(&path.to_string(), Fault::Listed);
        }
        verify
    }

    async fn take(&mut self, segment: &Segment, bytes: Result<Bytes, RepositoryError>) {
        if !self.file.is_damaged {
            let checked = self.check(segment, bytes).await;
            if let Err(error) = checked {
                self.file.is_damaged = true;
                self.push(error);
            }
        }
        if segment.ends_file {
            self.end_file(segment.file);
        }
    }

    async fn check(
        &mut self,
        segment: &Segment,
        bytes: Result<Bytes, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let bytes = bytes?;
        self.checker.take(segment, &bytes).await?;
        self.file.take(bytes).map_err(|error| self.content(segment.file, &error))
    }

    fn end_file(&mut self, number: usize) {
        let next = (number + 1 < self.backup.listing().files.len()).then_some(number + 1);
        let fresh = FileCheck::new(next.map(|next| self.backup.path(next)), self.pages.is_some());
        let mut file = core::mem::replace(&mut self.file, fresh);
        if file.is_damaged {
            return;
        }
        if let Err(error) = file.reader.end() {
            return self.push(self.content(number, &error));
        }
        if let (Some(pages), Some(scan)) = (&mut self.pages, file.scan.take()) {
            pages.push(scan.finish());
        }
        self.info = self.info.take().or(file.info.take().map(BytesMut::freeze));
        let path = self.backup.path(number).clone();
        if ClosingFile::from_path(&path).is_some() {
            self.sizes.push((path, file.bytes));
        }
    }

    fn content(&self, file: usize, error: &StreamError) -> RepositoryError {
        let path = self.backup.object(&self.backup.path(file).to_string());
        RepositoryError::damaged(path, Fault::Content(error.fault))
    }

    fn note(&mut self, path: &str, fault: Fault) {
        self.push(RepositoryError::damaged(self.backup.object(path), fault));
    }

    fn push(&mut self, error: RepositoryError) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(error);
        }
    }

    fn report(mut self) -> VerifyReport {
        let listing = self.backup.listing();
        let others = listing.files.iter().map(|file| (&file.path, 1));
        let others = others.filter(|(path, _)| ClosingFile::from_path(path).is_none());
        let sizes = self.sizes.iter().map(|(path, bytes)| (path, *bytes)).chain(others);
        let judged = ClosingFiles::new(sizes, self.info.as_deref()).judge(Expected::default());
        let (packs, files, bytes) = (listing.chunks, listing.files.len() as u64, listing.bytes);
        if let (true, Some(gap)) = (self.damage.is_empty(), judged.gaps.first()) {
            let object = self.backup.id().to_string();
            self.damage.push(RepositoryError::damaged(object, Fault::Closing(*gap)));
        }
        let no_sums = (!self.backup.has_sums()).then_some(NO_SUMS);
        let no_manifest = self.backup.manifest().is_none().then_some(NO_MANIFEST);
        let notes = no_sums.into_iter().chain(no_manifest).collect();
        VerifyReport { packs, files, bytes, damage: self.damage, notes, pages: self.pages }
    }
}
