//! Streams in files and pipes, without a group: what `galera-sst xbstream` does, and `mbstream` and
//! `xbstream` where this program is called by their names.
//!
//! | module | does |
//! |---|---|
//! | [`input`] | files and pipes as one stream |
//! | [`create`] | files into a stream |
//! | [`listing`] | a sink that tells of each file as it completes |
//! | [`content`] | a sink that keeps one file |
//! | [`chunks`] | every chunk of a stream as it stands there |
//!
//! Reading, checking and extracting are [`crate::pipeline`]'s and [`crate::sink`]'s. Not here: printing.

pub mod chunks;
pub mod content;
pub mod create;
pub mod input;
pub mod listing;

use tokio_util::sync::CancellationToken;

use crate::pipeline::{self, Options, PipelineError, Progress, Received};
use crate::sink::Sink;
use input::Input;

/// Takes a whole stream into a sink, without hashes and without limits on time: nobody waits.
pub async fn run<S: Sink>(
    input: Input,
    sink: S,
    options: Options,
    cancel: &CancellationToken,
) -> Result<Received<S>, PipelineError> {
    pipeline::run_blocking(input, sink, &options, &Progress::default(), cancel).await
}

/// What [`run`] is usually given.
pub fn options() -> Options {
    Options { hash_files: false, stall_limit: pipeline::NO_LIMIT, ..Options::default() }
}
