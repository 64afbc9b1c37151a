//! A job that is killed while it writes into an object store: with every kind of request under way, before
//! and after the store has done it. What is left is no backup, or a whole one; and after `prune` nothing
//! unfinished is left at all.
//!
//! The proxy holds the request, so the moment is certain.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::backup::{open, sweep};
use crate::faults::{compare, uploads};
use crate::proxy::{Fault, Proxy, What};
use crate::servers::{self, ACCESS_KEY, Place, SECRET_KEY, rclone, s3_at, seaweed};

const BUCKET: &str = "killed";

/// For the job to get to the request, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// Larger than a part, so that all kinds of request are made.
const DUMP: &str = "head -c 12000000 /dev/urandom";

const MOMENTS: [What; 4] = [What::Begin, What::Part, What::Complete, What::Manifest];

/// Starts a job that writes through the proxy.
fn start(proxy: &Proxy, prefix: &str) -> tokio::process::Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    let to = format!("s3://{BUCKET}/{prefix}");
    command.args(["dump", "--to", &to, "--part-size", "5M", "--request-timeout", "600"]);
    command.args(["--", "sh", "-c", DUMP]);
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", proxy.port()));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("the program runs")
}

/// Kills a job at that moment; says what is left of it.
async fn kill_at(what: What, fault: Fault) -> &'static str {
    let prefix = format!("{what:?}{fault:?}").to_ascii_lowercase();
    let proxy = Proxy::start(seaweed(), what, fault, 1).await;
    let mut job = start(&proxy, &prefix);
    timeout(LIMIT, proxy.wait_held()).await.expect("the request comes");
    job.start_kill().expect("killed");
    let status = job.wait().await.expect("its end is seen");
    assert_eq!(status.signal(), Some(9), "{prefix}");
    let direct = s3_at(seaweed(), BUCKET, &prefix);
    let left = judge(&direct, &prefix).await;
    sweep(&direct).await;
    let is_there = left == "a whole backup";
    assert_eq!(judge(&direct, &prefix).await == "a whole backup", is_there, "{prefix}");
    let files = ["lsf", "-R", "--files-only", &format!("s3:{BUCKET}/{prefix}")];
    let files = rclone(seaweed(), &files).stdout;
    assert_eq!(files.is_empty(), !is_there, "{prefix}: {}", String::from_utf8_lossy(&files));
    left
}

/// What `list` shows, which must be whole.
async fn judge(place: &Place, case: &str) -> &'static str {
    let repository = open(place).await;
    let listed = repository.list().await.expect("listed");
    let Some(found) = listed.first() else { return "nothing" };
    let backup = repository.backup(&found.id).await.expect("opens");
    let report = backup.verify(&Default::default()).await.expect("readable");
    assert!(report.is_sound() && listed.len() == 1, "{case}: {:?}", report.damage);
    "a whole backup"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_job_leaves_no_part_of_a_backup_and_after_prune_no_upload() {
    servers::s3(BUCKET);
    let mut table =
        String::from("| killed while it asks the store to | `list` shows |\n|---|---|\n");
    for what in MOMENTS {
        for fault in [Fault::Stall, Fault::Held] {
            let (name, left) = (crate::faults::name_of(what), kill_at(what, fault).await);
            let done = if fault == Fault::Held { "and it is done" } else { "and it is not done" };
            writeln!(table, "| {name}, {done} | {left} |").expect("written");
        }
    }
    let left = uploads(BUCKET);
    assert!(left.as_array().is_none_or(Vec::is_empty), "uploads leaked: {left}");
    compare("| killed while it asks", &table);
}
