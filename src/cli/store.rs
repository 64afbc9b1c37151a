//! Flags about object stores, shared by every command that knows repositories.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{ByteSize, ParseSizeError};
use crate::repository::{Addressing, StoreOptions, UploadConfig};
use crate::throttle::Limit;

/// How to reach an object store. Credentials come from the environment and the clouds' own files.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// URL of the object store, if it is one of your own
    #[arg(long, value_name = "URL", help_heading = "Object store")]
    endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "NAME", help_heading = "Object store")]
    region: Option<String>,
    /// Where the bucket's name stands in S3's URLs
    #[arg(long, value_enum, default_value_t = Addressing::Auto, help_heading = "Object store")]
    addressing: Addressing,
    /// Certificates of the object store's authority, PEM
    #[arg(long, value_name = "FILE", help_heading = "Object store")]
    store_ca: Option<PathBuf>,
    /// Limit for one request, in seconds; a part that takes longer is sent again
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = super::seconds, help_heading = "Object store")]
    request_timeout: Duration,
    /// How long to try again where the object store does not answer or is busy, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = super::seconds, help_heading = "Object store")]
    retry_timeout: Duration,
}

/// How objects are sent.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct UploadArgs {
    /// Size of the parts of a large object: bytes, or with K, M or G
    #[arg(long, value_name = "SIZE", default_value = "8M", help_heading = "Object store")]
    part_size: ByteSize,
    /// Parts under way at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Object store")]
    parts_in_flight: u16,
    /// Send no more than so many bytes a second to object stores, all together: bytes, or with K, M or G
    #[arg(long, value_name = "SIZE", value_parser = rate, help_heading = "Object store")]
    limit_upload: Option<NonZeroU64>,
}

/// Bytes a second below which donors and object stores give up.
const RATE_MIN: u64 = 64 << 10;

/// A limit for bytes a second.
pub(super) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let ByteSize(bytes) = text.parse().map_err(|error: ParseSizeError| error.to_string())?;
    let rate = NonZeroU64::new(bytes).filter(|rate| rate.get() >= RATE_MIN);
    rate.ok_or_else(|| format!("{text} is less than 64K a second: a transfer would time out"))
}

/// What S3 takes: no part but the last below the first, none above the second.
const PART_BYTES: std::ops::RangeInclusive<u64> = 5 << 20..=1 << 30;

impl StoreArgs {
    pub(super) fn options(&self) -> StoreOptions {
        StoreOptions {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            addressing: self.addressing,
            ca_file: self.store_ca.clone(),
            request_limit: self.request_timeout,
            retry_limit: self.retry_timeout,
            ..StoreOptions::default()
        }
    }
}

impl UploadArgs {
    /// The limit that all uploads share.
    pub(super) fn limit(&self) -> Option<Limit> {
        self.limit_upload.map(Limit::new)
    }

    /// Sizes that S3 does not take become the nearest that it takes.
    pub(super) fn config(&self) -> UploadConfig {
        let bytes = self.part_size.0.clamp(*PART_BYTES.start(), *PART_BYTES.end());
        UploadConfig {
            part_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            parts_in_flight: usize::from(self.parts_in_flight),
        }
    }
}
