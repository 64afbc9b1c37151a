//! Whatever goes wrong between us and an object store: a backup is whole, or it is not there and the
//! job says so; and after `prune` nothing is left of it.
//!
//! The table of all cases is `docs/sink-faults.md`; `UPDATE_DOCS=1` writes it anew.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use galera_sst::pipeline::manifest::BackupId;

use crate::backup::{check, open, sweep, write};
use crate::proxy::{Fault, Proxy, What};
use crate::servers::{self, Place, rclone, s3_at, seaweed};

const FAULTS: [Fault; 11] = [
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::Truncated,
    Fault::Stall,
    Fault::Slow,
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(429),
    Fault::Status(403),
    Fault::WrongEtag,
    Fault::Lie,
];

const WRITES: [What; 4] = [What::Begin, What::Part, What::Complete, What::Manifest];

/// What came of one case.
struct Row {
    what: What,
    fault: Fault,
    times: usize,
    /// Whether the job reported success.
    success: bool,
}

/// The limit of a request in a case's first run.
const FIRST_LIMIT: Duration = Duration::from_secs(2);

/// Runs of a case, each with twice the time of the one before.
const RUNS_MAX: u32 = 6;

/// Runs a case until the clock has no part in what comes of it: a run in which a sound request took
/// long is void, and the case is run again with more time.
async fn untimed<F: Future<Output = (Row, Duration)>>(
    mut run: impl FnMut(u32, Duration) -> F,
) -> Row {
    for number in 0..RUNS_MAX {
        let limit = FIRST_LIMIT * 2_u32.pow(number);
        let (row, slowest) = run(number, limit).await;
        if slowest < limit / 2 {
            return row;
        }
    }
    panic!("the store is too slow for {FIRST_LIMIT:?} × 2^{RUNS_MAX}");
}

/// The proxy's view of the store. A request is repeated a counted number of times, so that nothing but
/// the faults decides what comes of it.
fn spoiled_place(proxy: &Proxy, prefix: &str, limit: Duration) -> Place {
    let mut place = s3_at(proxy.port(), BUCKET, prefix);
    place.options.request_limit = limit;
    place.options.retry_limit = Duration::from_secs(600);
    place.options.retries_max = 1;
    place
}

/// All cases have prefixes of their own in one bucket.
const BUCKET: &str = "faults";

/// Unfinished uploads that another client sees.
pub(crate) fn uploads(bucket: &str) -> serde_json::Value {
    let at = format!("s3:{bucket}");
    let listed = rclone(seaweed(), &["backend", "list-multipart-uploads", &at]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    listed[bucket].clone()
}

async fn write_through(case: (What, Fault, usize), run: u32, limit: Duration) -> (Row, Duration) {
    let (what, fault, times) = case;
    let case = format!("{what:?} {fault:?} {times} run {run}");
    let letters = case.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let direct = s3_at(seaweed(), BUCKET, &letters);
    let proxy = Proxy::start(seaweed(), what, fault, times).await;
    let id = BackupId::generate();
    let written = write(&spoiled_place(&proxy, &letters, limit), &id).await;
    let is_void = proxy.slowest() >= limit / 2;
    assert!(is_void || proxy.spoiled() > 0, "{case}: nothing was spoiled: {written:?}");
    let listed = open(&direct).await.list().await.expect("listed");
    match &written {
        Ok(_) => check(&direct, &id).await.unwrap_or_else(|error| panic!("{case}: {error}")),
        Err(error) => assert!(listed.is_empty(), "{case}: failed ({error}) and visible"),
    }
    sweep(&direct).await;
    if written.is_err() {
        let left =
            rclone(seaweed(), &["lsf", "-R", "--files-only", &format!("s3:{BUCKET}/{letters}")]);
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{case}");
    }
    (Row { what, fault, times, success: written.is_ok() }, proxy.slowest())
}

const OFTEN: usize = 1_000_000;

/// Cases at once: most of the time each waits for a limit.
const CASES_AT_ONCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_or_absent_whatever_happens_on_its_way() {
    servers::s3(BUCKET);
    let sound = s3_at(seaweed(), BUCKET, "read");
    let id = BackupId::generate();
    write(&sound, &id).await.expect("written");
    let requests = WRITES.into_iter().chain([What::Read]);
    let cases = requests.flat_map(|what| FAULTS.map(|fault| (what, fault)));
    let cases = cases.flat_map(|(what, fault)| [(what, fault, 1), (what, fault, OFTEN)]);
    let rows = stream::iter(cases).map(|(what, fault, times)| {
        let id = id.clone();
        let case = async move {
            match what {
                What::Read => {
                    untimed(|_, limit| read_through(id.clone(), fault, times, limit)).await
                }
                What::Begin | What::Part | What::Complete | What::Manifest => {
                    untimed(|run, limit| write_through((what, fault, times), run, limit)).await
                }
            }
        };
        async { tokio::spawn(case).await.expect("the case holds") }
    });
    let rows: Vec<Row> = rows.buffered(CASES_AT_ONCE).collect().await;
    let left = uploads(BUCKET);
    assert!(left.as_array().is_none_or(Vec::is_empty), "uploads leaked: {left}");
    compare("| request |", &table(&rows));
}

/// A sound backup is read through the proxy: its content, or an error.
async fn read_through(
    id: BackupId,
    fault: Fault,
    times: usize,
    limit: Duration,
) -> (Row, Duration) {
    let proxy = Proxy::start(seaweed(), What::Read, fault, times).await;
    // A wrong content is no answer of `check`: it panics.
    let place = spoiled_place(&proxy, "read", limit);
    let checked = tokio::spawn(async move { check(&place, &id).await.is_ok() }).await;
    let success = matches!(checked, Ok(true));
    (Row { what: What::Read, fault, times, success }, proxy.slowest())
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| request | fault | once | every time |\n|---|---|---|---|\n");
    for pair in rows.chunks(2) {
        let [once, often] = pair else { continue };
        assert_eq!((once.times, often.times), (1, OFTEN));
        let (what, fault) = (name_of(once.what), describe(once.fault));
        let (once, often) = (outcome(once), outcome(often));
        writeln!(text, "| {what} | {fault} | {once} | {often} |").expect("written");
    }
    text
}

const fn outcome(row: &Row) -> &'static str {
    match (row.what, row.success) {
        (What::Read, true) => "right content",
        (What::Read, false) => "error",
        (_, true) => "success, whole",
        (_, false) => "error, absent",
    }
}

pub(crate) const fn name_of(what: What) -> &'static str {
    match what {
        What::Begin => "begin an upload",
        What::Part => "send a part",
        What::Complete => "complete an upload",
        What::Manifest => "write the manifest",
        What::Read => "read a range",
    }
}

fn describe(fault: Fault) -> String {
    match fault {
        Fault::CutBefore => "connection cut before the request is done".to_owned(),
        Fault::CutAfter => "request done, answer lost".to_owned(),
        Fault::Truncated => "request done, answer cut in the middle".to_owned(),
        Fault::Stall => "no answer for ever".to_owned(),
        Fault::Slow => "request done, answer slower than the limit".to_owned(),
        Fault::Held => "request done, no answer for ever".to_owned(),
        Fault::Status(status) => format!("answer {status}"),
        Fault::WrongEtag => "request done, answer with another ETag".to_owned(),
        Fault::Lie => "answer 200, but nothing done".to_owned(),
    }
}

/// The document has exactly this table, which begins with `head`.
pub(crate) fn compare(head: &str, table: &str) {
    // Two tests write it when it is made anew.
    static WRITING: Mutex<()> = Mutex::new(());
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sink-faults.md");
    let text = std::fs::read_to_string(&path).expect("readable");
    let (before, found) = text.split_once(head).expect("the document has such a table");
    let found: String = found.split_inclusive('\n').take_while(|line| line.len() > 1).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let after = &text[before.len() + head.len() + found.len()..];
        std::fs::write(&path, format!("{before}{table}{after}")).expect("written");
        return;
    }
    let is_right = format!("{head}{found}") == table;
    assert!(is_right, "docs/sink-faults.md says otherwise; the table is now\n{table}");
}
