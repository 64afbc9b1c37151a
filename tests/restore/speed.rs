//! How fast a repository is and how much memory it takes; numbers for people, and a bound on memory.
//!
//! `cargo test --release --test restore speed -- --ignored --nocapture`; `RESTORE_TEST_MIB` sets the size.

use std::time::Instant;

use super::*;

/// What the whole process may take, whatever the size of the backup.
const PEAK_MIB_MAX: u64 = 128;
const PIECE_BYTES: usize = 1 << 20;
const CHUNK_PIECES: usize = 10;
const FILES_TOGETHER: usize = 32;

/// A megabyte that compresses about as pages of a database do.
fn piece(number: usize) -> Bytes {
    let mut bytes = vec![0; PIECE_BYTES];
    for (at, page) in bytes.chunks_mut(16 << 10).enumerate() {
        let mut noise = blake3::Hasher::new();
        noise.update(&number.to_le_bytes()).update(&at.to_le_bytes());
        noise.finalize_xof().fill(&mut page[..6 << 10]);
    }
    bytes.into()
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kib / 1024
}

/// Prints a rate; gives nothing away about what was measured but its name.
#[expect(clippy::print_stderr, reason = "numbers for people")]
fn tell(what: &str, mib: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let rate = mib as f64 / seconds;
    eprintln!("{what}: {mib} MiB in {seconds:.2} s, {rate:.0} MiB/s, peak {} MiB", peak_mib());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes time and disk"]
async fn speed_and_memory_of_a_repository() {
    let mib = std::env::var("RESTORE_TEST_MIB").ok().and_then(|mib| mib.parse().ok());
    let mib: usize = mib.unwrap_or(1024);
    let lab = Lab::new();
    let pieces: Vec<Bytes> = (0..16).map(piece).collect();
    let began = Instant::now();
    let id = write(&lab, &pieces, mib).await;
    tell("write", mib, began);

    let repository = Repository::open(&lab.url).await.expect("opens");
    let backup = repository.backup(&id).await.expect("opens");
    let began = Instant::now();
    assert!(backup.verify(&ReadConfig::default()).await.expect("verifies").is_sound());
    tell("verify", mib, began);

    let config = RestoreConfig {
        target: lab.place("mysql"),
        force: false,
        finish: FinishConfig::default(),
        read: ReadConfig::default(),
    };
    let began = Instant::now();
    restore(&backup, &config).await.expect("restores");
    tell("restore, synced", mib, began);
    assert!(peak_mib() <= PEAK_MIB_MAX, "peak {} MiB", peak_mib());
}

/// Many files open at once, in chunks as a stream has them, and thousands of small ones between.
async fn write(lab: &Lab, pieces: &[Bytes], mib: usize) -> BackupId {
    let id = BackupId::generate();
    let mut sink =
        PackSink::create(&lab.url, id.clone(), PackConfig::default()).await.expect("makes a sink");
    let mut files = Vec::new();
    for number in 0..FILES_TOGETHER {
        files.push(sink.create(&entry(&format!("db/t{number}.ibd"))).await.expect("creates"));
    }
    for number in 0..mib {
        let file = &mut files[number / CHUNK_PIECES % FILES_TOGETHER];
        let piece = pieces[number % pieces.len()].clone();
        file.write(Piece::Data(piece)).await.expect("writes");
        for small in 0..10 {
            let mut file =
                sink.create(&entry(&format!("s{number}/{small}.frm"))).await.expect("creates");
            file.write(Piece::Data(pieces[0].slice(..1000))).await.expect("writes");
            file.finish().await.expect("finishes");
        }
    }
    for file in files {
        file.finish().await.expect("finishes");
    }
    let state = StateSeen { uuid: Default::default(), seqno_at_least: 1 };
    sink.commit(manifest(&id, state)).await.expect("commits");
    id
}

fn entry(name: &str) -> Entry {
    Entry { path: EntryPath::parse(name.as_bytes()).expect("valid path"), size: None }
}
