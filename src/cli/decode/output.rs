//! What is shown of records, and how.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::error::Error;
use crate::decode::html::Page;
use crate::decode::{Filter, Follow, Record, What, json, text};

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) json: bool,
    pub(super) bytes: bool,
    pub(super) notes: bool,
}

/// Where records go.
pub(super) struct Shown {
    filter: Filter,
    style: Style,
    out: BufWriter<io::Stdout>,
    page: Option<(Page, String)>,
}

impl Shown {
    pub(super) fn new(filter: Filter, style: Style, page: Option<&Path>) -> Result<Self, Error> {
        let page = page.map(|path| (Page::default(), path.display().to_string()));
        Ok(Self { filter, style, out: BufWriter::new(io::stdout()), page })
    }

    pub(super) fn take(&mut self, record: Record, follow: &mut Follow) -> Result<(), Error> {
        let notes = follow.take(&record);
        let is_shown = self.filter.shows(&record, follow);
        if let Some((page, _)) = &mut self.page {
            notes.iter().for_each(|note| page.note(record.time, note));
            if is_shown {
                page.take(&record, follow);
            }
            return Ok(());
        }
        if is_shown {
            self.write(&record, follow)?;
        }
        let notes = if self.style.notes { notes } else { Vec::new() };
        for note in &notes {
            let line = if self.style.json {
                json::note(record.time, note, follow).to_string()
            } else {
                format!("       {} == {}", text::time(record.time), follow.sentence(note))
            };
            self.line(&line)?;
        }
        Ok(())
    }

    fn write(&mut self, record: &Record, follow: &Follow) -> Result<(), Error> {
        if self.style.json {
            return self.line(&json::record(record, follow, self.style.bytes).to_string());
        }
        self.line(&text::line(record, follow))?;
        match &record.what {
            What::Frame { bytes, description } if self.style.bytes => {
                self.line(text::fields(bytes, description, follow).trim_end())
            }
            What::Frame { .. } | What::Link(_) | What::Sst(_) => Ok(()),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Error> {
        writeln!(self.out, "{line}").map_err(|_| Error::OutputClosed)
    }

    pub(super) fn finish(&mut self, follow: &Follow) -> Result<(), Error> {
        if let Some((page, path)) = self.page.take() {
            let failed = |source| Error::Page { path: path.clone(), source };
            let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
            page.write(follow, &mut file).map_err(failed)?;
            return file.flush().map_err(failed);
        }
        self.out.flush().map_err(|_| Error::OutputClosed)
    }
}
