//! Checks the pages of InnoDB's files: that each is whole, by its own checksum.
//!
//! A backup's hashes say that the bytes are those that the donor sent; a page's checksum says that the
//! donor's disk had not spoilt them before. Both tools that make backups read a torn page again, so
//! one in a backup is damage, although pages may be of different times until the backup is prepared.
//!
//! ```text
//! bytes of a file, in order ─► Scan: page 0 tells the format ─► page by page ─► FilePages
//! ```
//!
//! Not here: what is inside of pages. A page that nobody can check is counted as such, and never as
//! sound.

mod checksum;
mod format;
mod report;
mod scan;

pub use checksum::PageFault;
pub use format::Format;
pub use report::{BadPage, FilePages, Unchecked};
pub use scan::{Scan, is_innodb_file};
