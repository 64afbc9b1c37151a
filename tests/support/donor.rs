//! A donor that follows a script: the two connections of every server generation, and every way in
//! which they can go wrong (spec 05 §2.2–2.9).
//!
//! It behaves like the donor's shell script behind `socat -u`: it never reads, and its exit status
//! is what the group would see as the negated code of the donor's JOIN.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use openssl::ssl::{Ssl, SslContext};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// The position that every scripted donor names.
pub const STATE: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";

/// Seqno in conn 1: where the donor stood when it took the request.
pub const SEQNO: i64 = 39;

/// Exit status of a donor script whose conn 1 failed.
pub const CONN_1_FAILED: i64 = 32;

/// Exit status of a donor script whose backup failed, or whose conn 2 broke.
pub const BACKUP_FAILED: i64 = 22;

/// A generation of donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PXC 5.7: `sst_info`, no `xtrabackup_tablespaces`.
    Pxc57,
    /// PXC 8.0: `sst_info`, interleaved files.
    Pxc80,
    /// PXC 8.4: as 8.0, with a transition key and `xtrabackup_keys`.
    Pxc84,
    /// MariaDB up to 10.5: one `galera_info`.
    MariaDbOld,
    /// MariaDB 10.6 to 11.0: `xtrabackup_galera_info` and `donor_galera_info`.
    MariaDb,
    /// MariaDB from 11.1 on: the renamed files.
    MariaDb11,
}

/// All of them.
pub const DIALECTS: [Dialect; 6] = [
    Dialect::Pxc57,
    Dialect::Pxc80,
    Dialect::Pxc84,
    Dialect::MariaDbOld,
    Dialect::MariaDb,
    Dialect::MariaDb11,
];

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN, with TLS behind a `close_notify`: what every end of `socat` looks like.
    Fin,
    /// FIN alone, also inside TLS.
    Cut,
    /// RST.
    Reset,
    /// Not at all: silent, until the receiver closes.
    Stall,
}

/// What a donor does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Connects, sends `bytes` in pieces, ends the connection.
    Connection {
        /// What is sent.
        bytes: Vec<u8>,
        /// Bytes per write; the receiver may still see them merged.
        piece_bytes: usize,
        /// How it ends.
        ending: Ending,
        /// Exit status if it cannot connect, or the receiver breaks the connection.
        exit_if_broken: i64,
        /// False for probes and strangers: the script does not care how they fare.
        matters: bool,
    },
    /// The donor's sleep, or the time that its backup program needs.
    Pause(Duration),
    /// The script ends with this status.
    Exit(i64),
}

/// A donor's script.
#[derive(Clone, Debug)]
pub struct Donor {
    /// What it does, in order.
    pub steps: Vec<Step>,
    tls: Option<SslContext>,
}

impl Donor {
    /// A donor that does everything right.
    pub fn new(dialect: Dialect) -> Self {
        Self::sending(metadata(dialect), backup(dialect))
    }

    /// A donor that does everything right, with payloads of the caller's.
    pub fn sending(metadata: Vec<u8>, backup: Vec<u8>) -> Self {
        let steps = vec![
            connection(metadata, CONN_1_FAILED),
            Step::Pause(Duration::from_millis(20)),
            connection(backup, BACKUP_FAILED),
        ];
        Self::scripted(steps)
    }

    /// A donor that does what the steps say.
    pub fn scripted(steps: Vec<Step>) -> Self {
        Self { steps, tls: None }
    }

    /// Speaks TLS in every connection, as a client with these keys and this trust.
    #[must_use]
    pub fn over_tls(mut self, context: SslContext) -> Self {
        self.tls = Some(context);
        self
    }

    /// Somebody else, with these bytes, comes first.
    #[must_use]
    pub fn after_a_stranger(mut self, bytes: &[u8], ending: Ending) -> Self {
        let stranger = Step::Connection {
            bytes: bytes.to_vec(),
            piece_bytes: usize::MAX,
            ending,
            exit_if_broken: 0,
            matters: false,
        };
        self.steps.insert(0, stranger);
        self
    }

    /// Changes how one of its connections ends, after `length` bytes.
    #[must_use]
    pub fn ending_connection(mut self, index: usize, length: usize, how: Ending) -> Self {
        if let Some(Step::Connection { bytes, ending, .. }) = self.connections().nth(index) {
            bytes.truncate(length);
            *ending = how;
        }
        self
    }

    /// Flips one bit in what a connection carries.
    #[must_use]
    pub fn corrupting_connection(mut self, index: usize, offset: usize) -> Self {
        if let Some(Step::Connection { bytes, .. }) = self.connections().nth(index) {
            bytes[offset] ^= 0x01;
        }
        self
    }

    /// Writes in pieces of that many bytes.
    #[must_use]
    pub fn in_pieces(mut self, size: usize) -> Self {
        for step in &mut self.steps {
            if let Step::Connection { piece_bytes, .. } = step {
                *piece_bytes = size;
            }
        }
        self
    }

    /// Ends the script with this status after its last step.
    #[must_use]
    pub fn exiting(mut self, status: i64) -> Self {
        self.steps.push(Step::Exit(status));
        self
    }

    fn connections(&mut self) -> impl Iterator<Item = &mut Step> {
        self.steps.iter_mut().filter(|step| matches!(step, Step::Connection { .. }))
    }

    /// Follows the script; answers with the exit status, 0 for success.
    pub async fn run(self, receiver: SocketAddr) -> i64 {
        let tls = self.tls;
        for step in self.steps {
            match step {
                Step::Connection { bytes, piece_bytes, ending, exit_if_broken, matters } => {
                    let sent = send(receiver, tls.as_ref(), &bytes, piece_bytes, ending).await;
                    if sent.is_err() && matters {
                        return exit_if_broken;
                    }
                }
                Step::Pause(duration) => tokio::time::sleep(duration).await,
                Step::Exit(status) => return status,
            }
        }
        0
    }
}

/// One ordinary connection.
pub fn connection(bytes: Vec<u8>, exit_if_broken: i64) -> Step {
    let piece_bytes = usize::MAX;
    Step::Connection { bytes, piece_bytes, ending: Ending::Fin, exit_if_broken, matters: true }
}

async fn send(
    receiver: SocketAddr,
    tls: Option<&SslContext>,
    bytes: &[u8],
    piece_bytes: usize,
    ending: Ending,
) -> io::Result<()> {
    let mut tcp = TcpStream::connect(receiver).await?;
    tcp.set_nodelay(true)?;
    let Some(context) = tls else {
        write_pieces(&mut tcp, bytes, piece_bytes).await?;
        return end(tcp, ending).await;
    };
    let mut stream = SslStream::new(Ssl::new(context)?, tcp)?;
    Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
    write_pieces(&mut stream, bytes, piece_bytes).await?;
    if ending == Ending::Fin {
        stream.shutdown().await?;
    }
    end_tls(stream, ending).await
}

async fn write_pieces(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    piece_bytes: usize,
) -> io::Result<()> {
    for piece in bytes.chunks(piece_bytes) {
        stream.write_all(piece).await?;
    }
    stream.flush().await
}

async fn end(mut stream: TcpStream, ending: Ending) -> io::Result<()> {
    match ending {
        Ending::Fin | Ending::Cut => stream.shutdown().await,
        Ending::Reset => {
            // What was sent must have arrived before the reset overtakes it.
            wait_until_acknowledged(&stream).await;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))
        }
        Ending::Stall => match stream.read(&mut [0]).await {
            Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(error),
        },
    }
}

async fn end_tls(mut stream: SslStream<TcpStream>, ending: Ending) -> io::Result<()> {
    match ending {
        Ending::Fin => Ok(()),
        Ending::Cut => SockRef::from(stream.get_ref()).shutdown(std::net::Shutdown::Write),
        Ending::Reset => {
            wait_until_acknowledged(stream.get_ref()).await;
            SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))
        }
        Ending::Stall => match stream.read(&mut [0]).await {
            Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => Err(error),
        },
    }
}

/// Loopback acknowledges within microseconds; a few turns of the runtime are ample.
async fn wait_until_acknowledged(stream: &TcpStream) {
    for _ in 0..100 {
        let _ = stream.writable().await;
        tokio::task::yield_now().await;
    }
}

/// Conn 1 of that generation.
pub fn metadata(dialect: Dialect) -> Vec<u8> {
    let line = format!("{STATE}:{SEQNO} 0\n");
    match dialect {
        Dialect::Pxc57 => file("sst_info", sst_info("5.7.44-48-57", None).as_bytes()),
        Dialect::Pxc80 => file("sst_info", sst_info("8.0.36-28.1", None).as_bytes()),
        Dialect::Pxc84 => {
            let key = Some("abcdefghijklmnopqrstuvwxyz012345");
            file("sst_info", sst_info("8.4.4-4.1", key).as_bytes())
        }
        Dialect::MariaDbOld => file("xtrabackup_galera_info", line.as_bytes()),
        Dialect::MariaDb => two_files("xtrabackup_galera_info", &line),
        Dialect::MariaDb11 => two_files("mariadb_backup_galera_info", &line),
    }
}

fn two_files(name: &str, line: &str) -> Vec<u8> {
    [file(name, line.as_bytes()), file("donor_galera_info", line.as_bytes())].concat()
}

/// Conn 1 of a donor that decided to send write-sets only.
pub fn bypass_metadata(dialect: Dialect) -> Vec<u8> {
    [metadata(dialect), file("xtrabackup_ist", b"1\n")].concat()
}

fn sst_info(version: &str, transition_key: Option<&str>) -> String {
    let key = transition_key.map(|key| format!("transition-key={key}\n")).unwrap_or_default();
    format!(
        "[sst]\ngalera-gtid={STATE}:{SEQNO}\nbinlog-name=binlog\nmysql-version={version}\n{key}"
    )
}

/// Conn 2 of that generation: a small backup with all files that close one.
pub fn backup(dialect: Dialect) -> Vec<u8> {
    match dialect {
        Dialect::Pxc57 => [interleaved(), closing_percona(&[])].concat(),
        Dialect::Pxc80 => [interleaved(), closing_percona(&["xtrabackup_tablespaces"])].concat(),
        Dialect::Pxc84 => {
            let last = ["xtrabackup_tablespaces", "xtrabackup_keys"];
            [interleaved(), closing_percona(&last)].concat()
        }
        Dialect::MariaDbOld | Dialect::MariaDb => {
            [sequential(), closing_mariadb("xtrabackup")].concat()
        }
        Dialect::MariaDb11 => [sequential(), closing_mariadb("mariadb_backup")].concat(),
    }
}

/// As PXC writes with `--parallel=4`.
fn interleaved() -> Vec<u8> {
    let (a, b) = (pattern(70_000, 1), pattern(50_000, 2));
    [
        payload("ibdata1", 0, &a[..40_000]),
        payload("shop/orders.ibd", 0, &b[..10_000]),
        payload("ibdata1", 40_000, &a[40_000..]),
        payload("shop/orders.ibd", 10_000, &b[10_000..]),
        end_of_file("shop/orders.ibd"),
        end_of_file("ibdata1"),
        end_of_file("shop/empty.csv"),
    ]
    .concat()
}

fn sequential() -> Vec<u8> {
    [
        file("aria_log_control", &pattern(52, 3)),
        file("shop/orders.ibd", &pattern(80_000, 4)),
        file("ibdata1", &pattern(120_000, 5)),
        file("shop/orders.frm", &pattern(900, 6)),
        file("aria_log.00000001", &pattern(16_384, 7)),
    ]
    .concat()
}

fn closing_percona(last: &[&str]) -> Vec<u8> {
    let first = ["xtrabackup_logfile", "xtrabackup_checkpoints", "ib_buffer_pool", "backup-my.cnf"];
    let names = first.iter().chain(&["xtrabackup_info"]).chain(last);
    names.flat_map(|name| file(name, closing_text(name).as_bytes())).collect()
}

fn closing_mariadb(prefix: &str) -> Vec<u8> {
    let names = [
        format!("{prefix}_galera_info"),
        "donor_galera_info".to_owned(),
        "ib_logfile0".to_owned(),
        format!("{prefix}_checkpoints"),
        "ib_buffer_pool".to_owned(),
        "backup-my.cnf".to_owned(),
        format!("{prefix}_info"),
    ];
    names.iter().flat_map(|name| file(name, closing_text(name).as_bytes())).collect()
}

fn closing_text(name: &str) -> String {
    if name.ends_with("galera_info") {
        format!("{STATE}:{} 0\n", SEQNO + 2)
    } else if name.ends_with("checkpoints") {
        "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 40103251\n".to_owned()
    } else {
        "start_time = 2026-01-02 03:04:05\nend_time = 2026-01-02 03:04:08\n".to_owned()
    }
}

fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default().wrapping_mul(seed)).collect()
}

/// A whole file of an xbstream archive, in one payload chunk.
pub fn file(name: &str, content: &[u8]) -> Vec<u8> {
    [payload(name, 0, content), end_of_file(name)].concat()
}

fn payload(name: &str, offset: u64, content: &[u8]) -> Vec<u8> {
    let mut out = prefix(b'P', name);
    out.extend(u64::try_from(content.len()).unwrap_or_default().to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend(crc32fast::hash(content).to_le_bytes());
    out.extend(content);
    out
}

fn end_of_file(name: &str) -> Vec<u8> {
    prefix(b'E', name)
}

fn prefix(chunk_type: u8, name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap_or_default().to_le_bytes();
    [b"XBSTCK01\0", &[chunk_type][..], &length, name.as_bytes()].concat()
}
