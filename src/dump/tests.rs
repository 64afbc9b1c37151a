use std::path::Path;

use super::*;
use crate::repository::{PackConfig, PackSink, Repository, RepositoryUrl};

const WHOLE: &str = "printf 'CREATE TABLE t (a INT);\\n-- Dump completed on 2026-11-22\\n'";

fn config(script: &str) -> DumpConfig {
    DumpConfig {
        id: BackupId::generate(),
        group: "shop".into(),
        file: EntryPath::parse(b"dump.sql").expect("valid path"),
        command: ["sh", "-c", script].map(OsString::from).to_vec(),
        allow_empty: false,
        closing_line: ClosingLine::Demanded,
        idle_limit: Duration::from_secs(60),
    }
}

fn url(directory: &Path) -> RepositoryUrl {
    RepositoryUrl::parse(&format!("file://{}", directory.display())).expect("a URL")
}

async fn dump_into(directory: &Path, config: &DumpConfig) -> Result<Dumped, DumpError> {
    let open =
        async || PackSink::create(&url(directory), config.id.clone(), PackConfig::default()).await;
    dump(config, open, &Passed::default(), &CancellationToken::new()).await
}

async fn backups(directory: &Path) -> usize {
    let repository = Repository::open(&url(directory)).await.expect("a repository");
    repository.list().await.expect("a list").len()
}

async fn load_from(directory: &Path, script: &str) -> Result<Receipt, LoadError> {
    let repository = Repository::open(&url(directory)).await.expect("a repository");
    let backup = repository.backup(&repository.latest().await.expect("one")).await?;
    let config = LoadConfig {
        command: ["sh", "-c", script].map(OsString::from).to_vec(),
        verify_first: true,
        end_limit: Duration::from_secs(60),
    };
    load(&backup, &config, &Passed::default(), &CancellationToken::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_dump_is_a_backup_and_comes_back_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let dumped = dump_into(directory.path(), &config(WHOLE)).await.expect("a dump");
    assert_eq!(dumped.manifest.method, Method::Dump);
    assert_eq!(dumped.manifest.witnesses.first_failed(), None);
    let receipt = load_from(directory.path(), "cat; echo loaded").await.expect("loads");
    let text = "CREATE TABLE t (a INT);\n-- Dump completed on 2026-11-22\nloaded\n";
    assert_eq!(receipt.said.as_deref(), Some(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_not_whole_is_no_backup() {
    let directory = tempfile::tempdir().expect("a directory");
    for (script, code) in [
        (format!("{WHOLE}; exit 3"), 101),
        (format!("{WHOLE}; kill -9 $$"), 101),
        ("printf 'CREATE TABLE'".into(), 65),
        ("true".into(), 65),
    ] {
        let error = dump_into(directory.path(), &config(&script)).await.expect_err(&script);
        assert_eq!(error.exit_code().number(), code, "{script}: {error}");
        assert_eq!(backups(directory.path()).await, 0, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_a_backup() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = DumpConfig { allow_empty: true, ..config("true") };
    dump_into(directory.path(), &empty).await.expect("a dump");
    let expected = DumpConfig { closing_line: ClosingLine::Expected, ..config("echo a") };
    let dumped = dump_into(directory.path(), &expected).await.expect("a dump");
    assert!(dumped.lacks_closing_line);
    assert_eq!(dumped.manifest.witnesses.closing_files.seen.missing, [content::CLOSING_LINE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_kills_the_command_and_all_that_it_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let pid = directory.path().join("pid");
    let repository = directory.path().join("repository");
    std::fs::create_dir(&repository).expect("makes a directory");
    // The shell's child, in the background, would live on.
    let script = format!("sleep 1000 & echo $! > {}; echo a; wait", pid.display());
    let (config, stop, passed) = (config(&script), CancellationToken::new(), Passed::default());
    let open = async || {
        PackSink::create(&url(&repository), config.id.clone(), PackConfig::default()).await
    };
    let stopping = async {
        while passed.bytes() == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (dumped, ()) = tokio::join!(dump(&config, open, &passed, &stop), stopping);
    assert!(matches!(dumped, Err(DumpError::Stopped)), "{dumped:?}");
    let number = std::fs::read_to_string(pid).expect("the number of a process");
    let status = std::fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    assert!(status.is_err() || status.is_ok_and(|status| status.contains(") Z ")), "it lives");
    assert_eq!(backups(&repository).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_dump_is_never_given_to_the_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let dumped = dump_into(directory.path(), &config(WHOLE)).await.expect("a dump");
    let pack = directory.path().join(dumped.manifest.backup_id.as_str()).join("packs/000000.zst");
    let mut bytes = std::fs::read(&pack).expect("a pack");
    bytes[30] ^= 1;
    std::fs::write(&pack, bytes).expect("writes");
    let witness = directory.path().join("started");
    let error = load_from(directory.path(), &format!("cat > {}", witness.display())).await;
    let error = error.expect_err("damaged");
    assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
    assert_eq!(error.exit_code().number(), 65);
    assert!(!witness.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_fails_or_reads_too_little_is_a_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    dump_into(directory.path(), &config(WHOLE)).await.expect("a dump");
    for script in ["cat >/dev/null; exit 1", "true", "no-such-program"] {
        let error = load_from(directory.path(), script).await.expect_err(script);
        assert_eq!(error.exit_code().number(), 74, "{script}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_backup_of_a_group_is_found_among_those_of_others() {
    let directory = tempfile::tempdir().expect("a directory");
    for (time, group) in [("20260101", "shop"), ("20260102", "shop"), ("20260103", "blog")] {
        let id = format!("{time}T000000Z-00000000").parse().expect("a name");
        let config = DumpConfig { id, group: group.into(), ..config(WHOLE) };
        dump_into(directory.path(), &config).await.expect("a dump");
    }
    let repository = Repository::open(&url(directory.path())).await.expect("a repository");
    let newest = repository.newest_of("shop").await.expect("read").expect("there is one");
    assert_eq!(newest.backup_id.as_str(), "20260102T000000Z-00000000");
    assert!(repository.newest_of("none").await.expect("read").is_none());
}
