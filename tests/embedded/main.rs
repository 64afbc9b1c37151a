//! The main job without a database: `donate` stands up a group and serves a directory, `backup` and
//! the others are the built binary as people run it. Every fault that a donor can be told to have is
//! noticed, and leaves nothing that looks like a backup.

#[path = "../support/certificates.rs"]
#[expect(dead_code, reason = "other tests need more kinds of certificates")]
pub mod certificates;
mod group;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use certificates::{Authority, Version};
use group::{Donate, Ports, code, galera_sst, list, text};

/// A directory as a donor has one.
fn data() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("directory");
    fs::create_dir(root.path().join("shop")).expect("directory");
    let noise = |seed: u8| {
        (0..3_000_000_u32).map(move |at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed)
    };
    fs::write(root.path().join("ibdata1"), noise(1).collect::<Vec<_>>()).expect("written");
    fs::write(root.path().join("shop/orders.ibd"), noise(2).collect::<Vec<_>>()).expect("written");
    fs::write(root.path().join("shop/empty.csv"), b"").expect("written");
    root
}

fn assert_restored(data: &Path, restored: &Path) {
    for name in ["ibdata1", "shop/orders.ibd", "shop/empty.csv"] {
        let read = |root: &Path| fs::read(root.join(name)).expect(name);
        assert!(read(data) == read(restored), "{name} differs");
    }
}

#[test]
fn what_a_donor_of_either_kind_has_is_backed_up_verified_and_restored() {
    let data = data();
    for method in ["mariabackup", "xtrabackup-v2"] {
        let work = tempfile::tempdir().expect("directory");
        let repository = format!("file://{}", work.path().join("repository").display());
        let donate = Donate::start(&[&data.path().display().to_string()]);
        let backup = donate.backup(&repository, &["--method", method]);
        assert_eq!(code(&backup), 0, "{}", text(&backup.stderr));
        assert_eq!(code(&galera_sst(&["verify", "--from", &repository])), 0);
        let restored = work.path().join("restored");
        let target = restored.display().to_string();
        let restore = galera_sst(&["restore", "--from", &repository, "--to", &target]);
        assert_eq!(code(&restore), 0, "{}", text(&restore.stderr));
        assert_restored(data.path(), &restored);
        assert_eq!(donate.stop(), Some(0));
    }
}

/// Faults, and the exit code of a backup that meets them.
const FAULTS: [(&[&str], i32); 12] = [
    (&["cut=2M"], 101),
    (&["lie=2M"], 65),
    (&["reset=2M"], 101),
    (&["stall=2M"], 101),
    (&["corrupt=2M"], 65),
    (&["code=5"], 101),
    (&["refuse=22"], 101),
    (&["omit=xtrabackup_info"], 65),
    (&["omit=xtrabackup_checkpoints", "slow=20M"], 65),
    (&["silent"], 75),
    (&["leave=2M"], 101),
    (&["crash=2M"], 101),
];

#[test]
fn every_fault_of_a_donor_is_noticed_and_leaves_no_backup() {
    std::thread::scope(|scope| {
        for case in FAULTS.chunks(3) {
            scope.spawn(move || {
                case.iter().for_each(|(faults, expected)| try_fault(faults, *expected))
            });
        }
    });
}

fn try_fault(faults: &[&str], expected: i32) {
    let work = tempfile::tempdir().expect("directory");
    let repository = format!("file://{}", work.path().display());
    let mut arguments = vec!["--generate", "6M"];
    arguments.extend(faults.iter().flat_map(|fault| ["--fault", fault]));
    let donate = Donate::start(&arguments);
    let limits = ["--idle-timeout", "3", "--verdict-timeout", "12", "--method", "mariabackup"];
    let backup = donate.backup(&repository, &limits);
    assert_eq!(code(&backup), expected, "{faults:?}: {}", text(&backup.stderr));
    assert_eq!(list(&repository), "", "{faults:?}");
}

#[test]
fn a_fault_that_is_to_happen_once_is_gone_at_the_second_try() {
    let work = tempfile::tempdir().expect("directory");
    let repository = format!("file://{}", work.path().display());
    let donate = Donate::start(&["--generate", "2M", "--fault", "code=22", "--fault-times", "1"]);
    assert_eq!(code(&donate.backup(&repository, &["--method", "mariabackup"])), 101);
    assert_eq!(code(&donate.backup(&repository, &["--method", "mariabackup"])), 0);
    assert_eq!(list(&repository).lines().count(), 1);
}

#[test]
fn group_and_transfer_speak_tls_with_the_same_keys() {
    let work = tempfile::tempdir().expect("directory");
    let authority = Authority::new("embedded");
    authority.write(&work.path().join("ca.crt"));
    authority.issue(work.path(), "tls", Version::V3);
    let keys = work.path().display().to_string();
    let repository = format!("file://{}", work.path().join("repository").display());
    let donate = Donate::start(&["--generate", "2M", "--tls-dir", &keys]);
    let plain = donate.backup(&repository, &["--connect-timeout", "3"]);
    assert_ne!(code(&plain), 0, "a plain guest was let in");
    let backup = donate.backup(&repository, &["--tls-dir", &keys]);
    assert_eq!(code(&backup), 0, "{}", text(&backup.stderr));
}

#[test]
fn one_joiner_is_served_without_any_group() {
    let ports = Ports::reserve();
    let listener = TcpListener::bind(("127.0.0.1", ports.at(1))).expect("listen");
    let taker = std::thread::spawn(move || {
        let take = || {
            let mut bytes = Vec::new();
            listener.accept().expect("a donor").0.read_to_end(&mut bytes).expect("a stream");
            bytes
        };
        [take(), take()]
    });
    let data = data();
    let joiner = format!("mariabackup:127.0.0.1:{}", ports.at(1));
    let directory = data.path().display().to_string();
    let donate = galera_sst(&["donate", "--joiner", &joiner, "--pause", "0.1", &directory]);
    assert_eq!(code(&donate), 0, "{}", text(&donate.stderr));
    let [_, stream] = taker.join().expect("taken");
    let file = data.path().join("stream");
    fs::write(&file, stream).expect("written");
    let file = file.display().to_string();
    let verified = galera_sst(&["xbstream", "verify", "--backup", &file]);
    assert_eq!(code(&verified), 0, "{}", text(&verified.stderr));
}

#[test]
fn the_quickstart_without_a_database_runs_to_its_end() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/quickstart.d/embedded");
    let binary = Path::new(env!("CARGO_BIN_EXE_galera-sst"));
    let directory = binary.parent().expect("a directory").display();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(script).env("PATH", path).output().expect("run the script");
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("4 files are the same, bit by bit"));
}
