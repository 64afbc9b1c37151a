//! One self-contained page with a sequence chart.

use std::io::{self, Write};

use super::{Follow, Note, Record};
use crate::capture::Timestamp;

/// A page being made.
#[derive(Debug, Default)]
pub struct Page {}

impl Page {
    /// Adds a record.
    pub fn take(&mut self, _: &Record, _: &Follow) {}

    /// Adds what follows from one.
    pub fn note(&mut self, _: Timestamp, _: &Note) {}

    /// Writes the page.
    pub fn write(self, _: &Follow, out: &mut impl Write) -> io::Result<()> {
        writeln!(out)
    }
}
