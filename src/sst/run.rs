//! The task of one transfer: feeds the conversation, carries out its outputs.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use galera_protocol::sst::conversation::{
    self, ConnectionId, Conversation, End, Event, Evidence, Failure, Input, Output, Wrapper,
};
use galera_protocol::tls::TlsFailure;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::archive::{self, ArchiveWatch};
use super::clock::Clock;
use super::decipher::DecryptionKey;
use super::filter::Filtered;
use super::stream::Stream;
use super::tls::TlsAcceptor;
use super::unwrap::Unwrapped;
use super::{Notice, TransferError};
use crate::net::socket::Options;

/// Bytes of one read until a connection is recognised, and of conn 1.
const READ_BYTES: usize = 4096;

/// Pause after the system refused to accept a connection (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What woke the task.
enum Wake {
    Accepted(TcpStream, SocketAddr),
    Event(Option<Event>),
    Read(ReadDone),
    ArchiveEnded(End),
    Deadline,
    Cancelled,
}

/// One read of one connection, which owns it meanwhile.
struct ReadDone {
    connection: ConnectionId,
    result: ReadResult,
}

enum ReadResult {
    Bytes(Stream, Bytes),
    Ended(End),
    /// The conversation closed it.
    Closed,
}

type PendingRead = Pin<Box<dyn Future<Output = ReadDone> + Send>>;

/// The archive's connection while the pipeline has it.
struct RunningArchive {
    connection: ConnectionId,
    watch: ArchiveWatch,
}

/// What opens connections.
pub(super) struct Locks {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) key: Option<DecryptionKey>,
    /// Undoes compressors that are not known here.
    pub(super) decompressor: Option<String>,
}

/// Owns the conversation and every connection of one transfer.
pub(super) struct Driver {
    sockets: Vec<TcpListener>,
    locks: Locks,
    clock: Clock,
    conversation: Conversation,
    notices: mpsc::Sender<Notice>,
    next_connection: u32,
    /// Connections that nobody reads at the moment.
    resting: BTreeMap<ConnectionId, Stream>,
    reads: FuturesUnordered<PendingRead>,
    /// Stops the read of a connection that is to be closed.
    closers: BTreeMap<ConnectionId, CancellationToken>,
    archive: Option<RunningArchive>,
    result: Option<Result<Evidence, TransferError>>,
}

impl Driver {
    pub(super) fn new(
        sockets: Vec<TcpListener>,
        config: conversation::Config,
        locks: Locks,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            sockets,
            clock: Clock::start(),
            conversation: Conversation::new(config),
            locks,
            notices,
            next_connection: 0,
            resting: BTreeMap::new(),
            reads: FuturesUnordered::new(),
            closers: BTreeMap::new(),
            archive: None,
            result: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        cancel: CancellationToken,
    ) -> Result<Evidence, TransferError> {
        loop {
            let wake = self.wait(&mut events, &cancel).await;
            self.handle(wake);
            self.carry_out(&cancel).await;
            if let Some(result) = self.result.take() {
                self.close_everything(result.is_err());
                return result;
            }
        }
    }

    async fn wait(
        &mut self,
        events: &mut mpsc::Receiver<Event>,
        cancel: &CancellationToken,
    ) -> Wake {
        let deadline = self.conversation.next_deadline().map(|at| self.clock.runtime_time(at));
        let listens_to_events = !events.is_closed() || !events.is_empty();
        tokio::select! {
            // The donor's word and end count before a deadline; a flood of strangers does not.
            biased;
            () = cancel.cancelled() => Wake::Cancelled,
            event = events.recv(), if listens_to_events => Wake::Event(event),
            end = archive_end(&mut self.archive) => Wake::ArchiveEnded(end),
            () = sleep_until(deadline) => Wake::Deadline,
            Some(done) = self.reads.next() => Wake::Read(done),
            (stream, peer) = accept(&self.sockets) => Wake::Accepted(stream, peer),
        }
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Accepted(stream, peer) => self.on_accepted(stream, peer),
            Wake::Event(Some(event)) => self.input(Input::Event(event)),
            Wake::Event(None) => debug!("nobody is left to tell about the group"),
            Wake::Read(done) => self.on_read(done),
            Wake::ArchiveEnded(end) => self.on_archive_ended(end),
            Wake::Deadline => self.on_deadline(),
            Wake::Cancelled => self.result = Some(Err(TransferError::Cancelled)),
        }
    }

    fn input(&mut self, input: Input) {
        self.conversation.handle_input(self.clock.now(), input);
    }

    fn on_accepted(&mut self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = Options::TRANSFER.apply(&stream) {
            debug!(%peer, %error, "set options of the connection");
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection = self.next_connection.wrapping_add(1);
        info!(%peer, connection = connection.0, "connection accepted");
        self.resting.insert(connection, Stream::Plain(stream));
        self.input(Input::Accepted { connection, peer: peer.ip() });
    }

    fn on_read(&mut self, ReadDone { connection, result }: ReadDone) {
        self.closers.remove(&connection);
        match result {
            ReadResult::Bytes(stream, bytes) => {
                self.resting.insert(connection, stream);
                self.input(Input::Received { connection, bytes });
            }
            ReadResult::Ended(end) => self.input(Input::Ended { connection, end }),
            ReadResult::Closed => {}
        }
    }

    fn on_archive_ended(&mut self, end: End) {
        let Some(RunningArchive { connection, watch }) = self.archive.take() else { return };
        let progress = *watch.progress.borrow();
        info!(bytes = progress.bytes, ?end, "the donor's stream has ended");
        self.input(Input::ArchiveProgress(progress));
        self.input(Input::Ended { connection, end });
    }

    fn on_deadline(&mut self) {
        if let Some(archive) = &self.archive {
            let progress = *archive.watch.progress.borrow();
            self.input(Input::ArchiveProgress(progress));
        }
        self.input(Input::Timeout);
    }

    async fn carry_out(&mut self, cancel: &CancellationToken) {
        while let Some(output) = self.conversation.poll_output() {
            match output {
                Output::Read { connection } => self.read(connection),
                Output::StartTls { connection, head } => self.start_tls(connection, head),
                Output::Unwrap { connection, wrapper, head } => {
                    self.unwrap(connection, wrapper, head);
                }
                Output::Close { connection, reason } => {
                    debug!(connection = connection.0, %reason, "connection closed");
                    self.close(connection);
                }
                Output::Metadata(metadata) => {
                    info!(position = %metadata.position, "metadata received");
                    self.notify(Notice::Metadata(metadata), cancel).await;
                }
                Output::Keyring(files) => self.notify(Notice::Keyring(files), cancel).await,
                Output::StartArchive { connection, head } => {
                    self.start_archive(connection, head, cancel).await;
                }
                Output::Ended(result) => self.on_ended(result),
            }
        }
    }

    fn on_ended(&mut self, result: Result<Evidence, Failure>) {
        if self.result.is_none() {
            self.result = Some(result.map_err(TransferError::Failed));
        }
    }

    fn read(&mut self, connection: ConnectionId) {
        let Some(stream) = self.resting.remove(&connection) else { return };
        let closer = CancellationToken::new();
        self.closers.insert(connection, closer.clone());
        self.reads.push(Box::pin(read_once(connection, stream, closer)));
    }

    /// The next read does the handshake. Without TLS of our own the read never comes, and the
    /// conversation's limits end the connection.
    fn start_tls(&mut self, connection: ConnectionId, head: Bytes) {
        let Some(stream) = self.resting.remove(&connection) else { return };
        let Some(acceptor) = &self.locks.tls else { return };
        match stream.start_tls(acceptor, head) {
            Ok(stream) => {
                self.resting.insert(connection, stream);
            }
            Err(error) => {
                warn!(connection = connection.0, %error, "start TLS");
                self.input(Input::Ended { connection, end: End::NoHandshake(TlsFailure::Other) });
            }
        }
    }

    /// As with TLS: the next read yields what is inside.
    fn unwrap(&mut self, connection: ConnectionId, wrapper: Wrapper, head: Bytes) {
        // What is recognised only by its end has been read whole: its bytes are in the head.
        let stream = self.resting.remove(&connection).unwrap_or(Stream::Ended);
        let stream = match wrapper {
            Wrapper::Known(layer) => Unwrapped::new(stream, layer, self.locks.key.as_ref(), &head)
                .map(|unwrapped| Stream::Unwrapped(Box::new(unwrapped))),
            Wrapper::Command => self.filtered(stream, head),
        };
        match stream {
            Some(stream) => drop(self.resting.insert(connection, stream)),
            None => self.input(Input::Ended { connection, end: End::Unpackable }),
        }
    }

    fn filtered(&self, stream: Stream, head: Bytes) -> Option<Stream> {
        let command = self.locks.decompressor.as_deref()?;
        match Filtered::start(command, stream, head) {
            Ok(filtered) => Some(Stream::Filtered(Box::new(filtered))),
            Err(error) => {
                warn!(command, %error, "start the decompressor");
                None
            }
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        self.resting.remove(&connection);
        if let Some(closer) = self.closers.remove(&connection) {
            closer.cancel();
        }
        if self.archive.as_ref().is_some_and(|archive| archive.connection == connection) {
            self.abort_archive();
        }
    }

    fn abort_archive(&mut self) {
        if let Some(archive) = self.archive.take() {
            archive.watch.abort();
        }
    }

    async fn start_archive(
        &mut self,
        connection: ConnectionId,
        head: Bytes,
        cancel: &CancellationToken,
    ) {
        let Some(stream) = self.resting.remove(&connection) else { return };
        info!(connection = connection.0, "the backup has begun");
        let (reader, watch) = archive::open(stream, head, self.clock);
        self.archive = Some(RunningArchive { connection, watch });
        self.notify(Notice::Archive(reader), cancel).await;
    }

    async fn notify(&mut self, notice: Notice, cancel: &CancellationToken) {
        let delivered = tokio::select! {
            sent = self.notices.send(notice) => sent.is_ok(),
            () = cancel.cancelled() => false,
        };
        if !delivered && self.result.is_none() {
            self.result = Some(Err(TransferError::Cancelled));
        }
    }

    fn close_everything(&mut self, failed: bool) {
        self.resting.clear();
        self.reads.clear();
        if failed {
            self.abort_archive();
        }
    }
}

async fn read_once(
    connection: ConnectionId,
    mut stream: Stream,
    closer: CancellationToken,
) -> ReadDone {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let read = tokio::select! {
        read = stream.read_buf(&mut buffer) => read,
        () = closer.cancelled() => return ReadDone { connection, result: ReadResult::Closed },
    };
    let result = match read {
        Ok(0) => ReadResult::Ended(End::Clean),
        Ok(_) => ReadResult::Bytes(stream, buffer.freeze()),
        Err(error) => {
            debug!(connection = connection.0, %error, "read from the donor");
            ReadResult::Ended(stream.end_of(&error))
        }
    };
    ReadDone { connection, result }
}

/// The next connection on any of the sockets.
pub(super) async fn accept(sockets: &[TcpListener]) -> (TcpStream, SocketAddr) {
    loop {
        match poll_fn(|context| poll_accept(sockets, context)).await {
            Ok(accepted) => return accepted,
            Err(error) => {
                warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn poll_accept(
    sockets: &[TcpListener],
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    for socket in sockets {
        if let Poll::Ready(accepted) = socket.poll_accept(context) {
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

/// How the archive's reader ended. One that was dropped has abandoned it.
async fn archive_end(archive: &mut Option<RunningArchive>) -> End {
    match archive {
        Some(archive) => (&mut archive.watch.ended).await.unwrap_or(End::Abandoned),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
