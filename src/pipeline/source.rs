//! Where the bytes come from: large reads into buffers that are used again.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::PipelineError;

/// Size of a read buffer. From 256 KiB on system calls no longer show; beyond a few MiB a buffer falls
/// out of the processor's cache before it is written.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// Buffers that are remembered for another use; more than are on their way at any time.
const BUFFERS_REMEMBERED: usize = 32;

/// What the parser gets.
#[derive(Debug)]
pub(super) enum Input {
    Bytes(Bytes),
    End,
    Failed(PipelineError),
}

/// Reads until the source ends, fails, or nobody listens any more.
pub(super) async fn read<R: AsyncRead + Unpin>(
    mut source: R,
    to: mpsc::Sender<Input>,
    idle_limit: Duration,
) {
    let mut buffers = Buffers::default();
    loop {
        let mut buffer = buffers.take();
        buffer.clear();
        let filled = timeout(idle_limit, fill(&mut source, &mut buffer)).await;
        if !buffer.is_empty() && to.send(Input::Bytes(buffers.remember(buffer))).await.is_err() {
            return;
        }
        let last = match filled {
            Ok(Ok(Filled::More)) => continue,
            Ok(Ok(Filled::End)) => Input::End,
            Ok(Err(error)) => Input::Failed(PipelineError::Transport(error)),
            Err(_) => Input::Failed(PipelineError::Idle { limit: idle_limit }),
        };
        // Nobody to tell: then it is known already.
        let _ = to.send(last).await;
        return;
    }
}

/// What comes after the bytes in the buffer.
enum Filled {
    More,
    End,
}

/// Waits for bytes, then takes all that are there already.
///
/// An end or an error that follows at once is returned beside the bytes: a socket tells of a reset
/// only once, and looks like a clean end from then on.
async fn fill(source: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Filled> {
    if source.read_buf(buffer).await? == 0 {
        return Ok(Filled::End);
    }
    while buffer.len() < buffer.capacity() {
        match source.read_buf(buffer).now_or_never() {
            Some(Ok(0)) => return Ok(Filled::End),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => break,
        }
    }
    Ok(Filled::More)
}

/// As [`read`], for files and pipes.
pub(super) fn read_blocking(mut source: impl Read, to: &mpsc::Sender<Input>) {
    let mut buffers = Buffers::default();
    loop {
        let mut buffer = buffers.take();
        // Zeroed once; a buffer that is used again keeps its length.
        buffer.resize(BUFFER_BYTES, 0);
        let input = match read_once(&mut source, &mut buffer) {
            Ok(0) => Input::End,
            Ok(length) => Input::Bytes(buffers.remember(buffer).slice(..length)),
            Err(error) => Input::Failed(PipelineError::Transport(error)),
        };
        let is_last = !matches!(input, Input::Bytes(_));
        if to.blocking_send(input).is_err() || is_last {
            return;
        }
    }
}

fn read_once(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Buffers on their way. One whose bytes nobody holds any more is used again: fresh memory would cost
/// a page fault per 4 KiB.
#[derive(Default)]
struct Buffers {
    issued: VecDeque<Bytes>,
}

impl Buffers {
    /// A buffer, with its old content if it was used before.
    fn take(&mut self) -> BytesMut {
        match self.issued.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(buffer)) => buffer,
            Some(Err(in_use)) => {
                self.issued.push_front(in_use);
                BytesMut::with_capacity(BUFFER_BYTES)
            }
            None => BytesMut::with_capacity(BUFFER_BYTES),
        }
    }

    fn remember(&mut self, buffer: BytesMut) -> Bytes {
        let bytes = buffer.freeze();
        if self.issued.len() < BUFFERS_REMEMBERED {
            self.issued.push_back(bytes.clone());
        }
        bytes
    }
}
