//! TCP as TLS needs it: it remembers how the peer began, gives back what was read too early, and,
//! where gigabytes come, asks the system for much at once, for the library asks for a record at most.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are remembered of what the peer says first: enough to know who it is.
const HEAD_BYTES: usize = 8;

/// The connection under a TLS session.
#[derive(Debug)]
pub struct Transport {
    tcp: TcpStream,
    head: Head,
    buffer: BytesMut,
    read_bytes: usize,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Head {
    bytes: [u8; HEAD_BYTES],
    seen: usize,
}

impl Head {
    fn remember(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(HEAD_BYTES - self.seen);
        self.bytes[self.seen..self.seen + count].copy_from_slice(&bytes[..count]);
        self.seen += count;
    }
}

impl Transport {
    /// Reads as much as it is asked for.
    pub fn new(tcp: TcpStream) -> Self {
        Self::buffered(tcp, &[], 0)
    }

    /// Asks the system for `read_bytes` at once; `read` was read already.
    pub fn buffered(tcp: TcpStream, read: &[u8], read_bytes: usize) -> Self {
        let mut head = Head::default();
        head.remember(read);
        Self { tcp, head, buffer: BytesMut::from(read), read_bytes, has_ended: false }
    }

    /// The connection underneath.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The peer's first bytes, as many as there were.
    pub fn head(&self) -> &[u8] {
        &self.head.bytes[..self.head.seen]
    }

    /// True if nothing was read ahead.
    pub fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    /// True once the peer has ended TCP, in order or not.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn read_through(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        ready!(Pin::new(&mut self.tcp).poll_read(context, buffer))?;
        let new = &buffer.filled()[before..];
        self.has_ended |= new.is_empty() && room > 0;
        self.head.remember(new);
        Poll::Ready(Ok(()))
    }

    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.reserve(self.read_bytes);
        let tcp = Pin::new(&mut self.tcp);
        let count = ready!(tokio_util::io::poll_read_buf(tcp, context, &mut self.buffer))?;
        self.has_ended |= count == 0;
        self.head.remember(&self.buffer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            if self.read_bytes == 0 {
                return self.read_through(context, buffer);
            }
            ready!(self.fill(context))?;
        }
        let count = self.buffer.len().min(buffer.remaining());
        buffer.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
