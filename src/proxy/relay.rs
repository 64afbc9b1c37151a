//! One direction of a connection through the proxy.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use galera_protocol::describe::{Description, describe_frame};
use galera_protocol::frame::{BODY_BYTES_MAX, HEADER_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Observed;
use super::rule::{Fault, Rules};
use crate::capture::{Flow, StreamEvent, Timestamp};

/// Read at a time.
const BUFFER_BYTES: usize = 64 << 10;

pub(super) struct Direction {
    flow: Flow,
    to_server: bool,
    rules: Arc<Rules>,
    observer: mpsc::Sender<Observed>,
    /// Ends both directions.
    cut: CancellationToken,
    /// It began with a frame; none: nothing came yet.
    has_frames: Option<bool>,
    /// A message that goes behind the next one.
    held: Option<Bytes>,
}

/// The connection is over: the peer is gone, or a rule cut it.
struct Over;

impl Direction {
    pub(super) fn new(
        flow: Flow,
        to_server: bool,
        rules: Arc<Rules>,
        observer: mpsc::Sender<Observed>,
        cut: CancellationToken,
    ) -> Self {
        Self { flow, to_server, rules, observer, cut, has_frames: None, held: None }
    }

    /// Relays until the stream ends.
    pub(super) async fn relay(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        self.observe(StreamEvent::Opened).await;
        let cut = self.cut.clone();
        let relayed = cut.run_until_cancelled(self.pass(&mut from, &mut to)).await;
        let _ = to.shutdown().await;
        if let Some(Err(Over)) = relayed {
            self.cut.cancel();
        }
        self.observe(StreamEvent::Ended).await;
    }

    async fn pass(
        &mut self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), Over> {
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        while from.read_buf(&mut buffer).await.map_err(|_| Over)? > 0 {
            while let Some(unit) = self.cut_unit(&mut buffer) {
                if self.has_frames == Some(true) {
                    self.pass_frame(unit, to).await?;
                } else {
                    self.write(unit, to).await?;
                }
            }
            buffer.reserve(BUFFER_BYTES);
        }
        if let Some(held) = self.held.take() {
            self.write(held, to).await?;
        }
        // What is left is the beginning of a frame that will have no end.
        self.write(buffer.freeze(), to).await
    }

    /// The next frame, or everything if there are no frames.
    fn cut_unit(&mut self, buffer: &mut BytesMut) -> Option<Bytes> {
        if self.has_frames != Some(false) && buffer.len() < HEADER_BYTES {
            return None;
        }
        let length = frame_length(buffer);
        self.has_frames.get_or_insert(length.is_some());
        match (self.has_frames, length) {
            (Some(true), Some(length)) if buffer.len() < length => None,
            (Some(true), Some(length)) => Some(buffer.split_to(length).freeze()),
            _ if buffer.is_empty() => None,
            _ => {
                self.has_frames = Some(false);
                Some(buffer.split().freeze())
            }
        }
    }

    async fn pass_frame(&mut self, frame: Bytes, to: &mut OwnedWriteHalf) -> Result<(), Over> {
        let description = describe_frame(&frame);
        let fault = self.rules.judge(&description, self.to_server);
        if let Some(fault) = fault {
            self.tell(fault, &description).await;
        }
        match fault {
            None => self.write(frame, to).await?,
            Some(Fault::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.write(frame, to).await?;
            }
            Some(Fault::Drop) => {}
            Some(Fault::Cut) => return Err(Over),
            Some(Fault::Corrupt) => self.write(corrupted(&frame), to).await?,
            Some(Fault::Reorder) if self.held.is_none() => {
                self.held = Some(frame);
                return Ok(());
            }
            Some(Fault::Reorder) => self.write(frame, to).await?,
        }
        match self.held.take() {
            Some(held) => self.write(held, to).await,
            None => Ok(()),
        }
    }

    async fn write(&self, bytes: Bytes, to: &mut OwnedWriteHalf) -> Result<(), Over> {
        if bytes.is_empty() {
            return Ok(());
        }
        to.write_all(&bytes).await.map_err(|_| Over)?;
        self.observe(StreamEvent::Data(bytes)).await;
        Ok(())
    }

    async fn observe(&self, event: StreamEvent) {
        let passed = Observed::Passed { time: now(), flow: self.flow, event };
        // Nobody looks any more: the relay goes on.
        let _ = self.observer.send(passed).await;
    }

    async fn tell(&self, fault: Fault, description: &Description) {
        let kind = description.sections.last().map_or("FRAME", |section| section.kind);
        let what = format!("{} {kind}", fault.name());
        let _ = self.observer.send(Observed::Broken { time: now(), flow: self.flow, what }).await;
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn frame_length(bytes: &[u8]) -> Option<usize> {
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    let length = (word & 0x00ff_ffff) as usize;
    let is_known = word >> 26 == 0 && (1..=BODY_BYTES_MAX).contains(&length);
    is_known.then_some(HEADER_BYTES + length)
}

/// With the last bit of its last byte turned over.
fn corrupted(frame: &Bytes) -> Bytes {
    let mut frame = frame.to_vec();
    if let Some(last) = frame.last_mut() {
        *last ^= 1;
    }
    frame.into()
}
