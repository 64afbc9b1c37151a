//! A donor made of the very programs that MariaDB's script runs: `mbstream -c | socat`.

use std::path::Path;
use std::process::Stdio;

use galera_protocol::sst::conversation;
use galera_sst::sst::{Event, Judgement};
use tokio::process::Command;

use crate::certificates::Version;
use crate::donor;
use crate::receiver::{Receiver, accepted, judge};
use crate::tls::{self, Keys};

/// Runs one pipe as the donor's script does; fails if any member of it does.
async fn pipe(directory: &Path, command: &str) -> bool {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", command]).current_dir(directory);
    shell.stdin(Stdio::null()).kill_on_drop(true);
    shell.status().await.expect("bash runs").success()
}

fn write(directory: &Path, name: &str, content: &[u8]) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("create");
    std::fs::write(path, content).expect("write");
}

fn donor_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let position = format!("{}:{} 0\n", donor::STATE, donor::SEQNO);
    write(directory.path(), "xtrabackup_galera_info", position.as_bytes());
    write(directory.path(), "donor_galera_info", position.as_bytes());
    write(directory.path(), "aria_log_control", &[7; 52]);
    write(directory.path(), "ibdata1", &vec![9; 25 << 20]);
    write(directory.path(), "lab/t1.frm", b"table");
    write(directory.path(), "xtrabackup_checkpoints", b"backup_type = full-backuped\n");
    write(directory.path(), "xtrabackup_info", b"end_time = 2026-01-02 03:04:08\n");
    directory
}

const METADATA: &str = "mbstream -c xtrabackup_galera_info donor_galera_info";
const BACKUP: &str = "mbstream -c aria_log_control ibdata1 lab/t1.frm xtrabackup_galera_info \
                      donor_galera_info xtrabackup_checkpoints xtrabackup_info";

#[tokio::test]
#[ignore = "needs socat and mbstream"]
async fn the_donors_own_programs_are_received_whole() {
    let mut receiver = Receiver::accepted(conversation::Config::default()).await;
    let directory = donor_directory();
    let (events, address) = (receiver.events.clone(), receiver.address);
    let donor = tokio::spawn(async move {
        let socat = format!("socat -u stdio TCP:{address}");
        let sent = pipe(directory.path(), &format!("{METADATA} | {socat}")).await
            && pipe(directory.path(), &format!("{BACKUP} | {socat}")).await;
        let _ = events.send(Event::DonorJoined { code: if sent { 0 } else { -22 } }).await;
        sent
    });
    let (metadata, archive) = receiver.consume().await;
    let evidence = receiver.result().await.expect("a complete transfer");
    assert!(donor.await.expect("no panic"));
    let archive = archive.expect("an archive");
    assert_eq!(judge(&archive), Judgement::Whole);
    assert_eq!(Ok(evidence.archive_bytes), u64::try_from(archive.len()));
    let metadata = metadata.expect("metadata");
    assert_eq!(metadata.position.to_string(), format!("{}:{}", donor::STATE, donor::SEQNO));
}

/// `encrypt=4`, as PXC and MariaDB do it.
#[tokio::test]
#[ignore = "needs socat and mbstream"]
async fn the_donors_own_programs_are_received_whole_over_tls() {
    let keys = Keys::new();
    let mut receiver = tls::receiver(&keys.receiver(true));
    receiver.tell(accepted()).await;
    let identity = keys.issue("donor", Version::V1);
    let directory = donor_directory();
    let (events, address, ca) = (receiver.events.clone(), receiver.address, keys.ca.clone());
    let donor = tokio::spawn(async move {
        let socat = format!(
            "socat -u stdio openssl-connect:{address},cert={},key={},cafile={},verify=1,\
             commonname='',no-sni=1",
            identity.certificate.display(),
            identity.key.display(),
            ca.display()
        );
        let sent = pipe(directory.path(), &format!("{METADATA} | {socat}")).await
            && pipe(directory.path(), &format!("{BACKUP} | {socat}")).await;
        let _ = events.send(Event::DonorJoined { code: if sent { 0 } else { -22 } }).await;
        sent
    });
    let (_, archive) = receiver.consume().await;
    let evidence = receiver.result().await.expect("a complete transfer");
    assert!(donor.await.expect("no panic"));
    assert_eq!(Ok(evidence.archive_bytes), u64::try_from(archive.expect("an archive").len()));
}

#[tokio::test]
#[ignore = "needs socat and mbstream"]
async fn a_killed_program_behind_socat_ends_like_a_complete_stream() {
    let mut receiver = Receiver::accepted(conversation::Config::default()).await;
    let directory = donor_directory();
    let (events, address) = (receiver.events.clone(), receiver.address);
    let donor = tokio::spawn(async move {
        let socat = format!("socat -u stdio TCP:{address}");
        let metadata = pipe(directory.path(), &format!("{METADATA} | {socat}")).await;
        let killed =
            format!("(head -c 12000000 <({BACKUP} 2>/dev/null); kill -9 $BASHPID) | {socat}");
        let backup = pipe(directory.path(), &killed).await;
        let _ = events.send(Event::DonorJoined { code: -22 }).await;
        (metadata, backup)
    });
    let (_, archive) = receiver.consume().await;
    assert_eq!(donor.await.expect("no panic"), (true, false));
    assert_eq!(archive.map(|bytes| bytes.len()), Some(12_000_000), "a clean end of file");
    let failure = receiver.result().await.expect_err("no backup");
    assert!(failure.to_string().contains("code -22"), "{failure}");
}
