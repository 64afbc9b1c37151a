use std::fs;

use super::*;

/// Runs a fixture's script. A file of the project: one written by the test could still be open in a
/// child of another test, and then cannot be run.
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/restore/prepare/stand-in.sh");

/// A backup directory and what stands in for the backup tool.
struct Fixture {
    directory: tempfile::TempDir,
}

const MARIADB: &str = "tool_name = mariadb-backup\ntool_version = 10.11.19-MariaDB\n\
                       end_time = 2026-11-22 16:32:20\n";
const PERCONA: &str = "tool_name = xtrabackup\ntool_version = 8.0.35-30\n\
                       end_time = 2026-11-22 16:32:20\n";

/// Does what the tool does as far as we look: notes its arguments, says that it is prepared.
const GOOD: &str = "printf '%s\\n' \"$@\" > \"$HERE/arguments\"\n\
                    echo 'backup_type = log-applied' > \"$HERE/backup/xtrabackup_checkpoints\"\n\
                    echo '[00] 2026-11-22 19:45:55 completed OK!'\n";

impl Fixture {
    fn new(info: &str, script: &str) -> Self {
        let fixture = Self { directory: tempfile::tempdir().expect("a directory") };
        fs::create_dir(fixture.backup()).expect("makes a directory");
        fixture.put("xtrabackup_info", info);
        fixture.put("xtrabackup_checkpoints", "backup_type = full-backuped\n");
        fs::write(fixture.directory.path().join("script"), script).expect("writes");
        fixture
    }

    fn backup(&self) -> PathBuf {
        self.directory.path().join("backup")
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.backup().join(name), text).expect("writes");
    }

    fn config(&self) -> PrepareConfig {
        PrepareConfig {
            tool: Some(STAND_IN.into()),
            limit: Duration::from_secs(30),
            ..PrepareConfig::default()
        }
    }

    async fn prepare(&self) -> Result<Facts, RestoreError> {
        prepare(&self.backup(), None, &self.config()).await
    }

    fn arguments(&self) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.directory.path().join("arguments")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }
}

#[tokio::test]
async fn the_tool_is_run_on_the_directory() {
    let fixture = Fixture::new(MARIADB, GOOD);
    let facts = fixture.prepare().await.expect("prepares");
    assert_eq!(facts.flavour, Flavour::Mariadb);
    let target = format!("--target-dir={}", fixture.backup().display());
    assert_eq!(fixture.arguments(), Some(vec!["--prepare".to_owned(), target]));
}

#[tokio::test]
async fn a_prepared_directory_is_left_alone() {
    let fixture = Fixture::new(MARIADB, GOOD);
    fixture.put("xtrabackup_checkpoints", "backup_type = log-applied\n");
    assert!(fixture.prepare().await.expect("prepares").is_prepared);
    assert_eq!(fixture.arguments(), None);
}

#[tokio::test]
async fn another_series_is_refused_unless_wanted() {
    let fixture = Fixture::new(PERCONA, GOOD);
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::ToolVersion { .. }));
    assert_eq!(fixture.arguments(), None);
    let config = PrepareConfig { any_tool_version: true, ..fixture.config() };
    prepare(&fixture.backup(), None, &config).await.expect("prepares");
    let arguments = fixture.arguments().expect("was run");
    assert!(arguments.contains(&"--rollback-prepared-trx".to_owned()));
}

#[tokio::test]
async fn a_good_exit_status_without_the_last_line_is_no_success() {
    let fixture = Fixture::new(MARIADB, "echo 'all is well'");
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NotCompleted { .. }));
}

#[tokio::test]
async fn the_last_line_without_a_good_exit_status_is_no_success() {
    let fixture = Fixture::new(MARIADB, "echo 'completed OK!'; exit 1");
    let error = fixture.prepare().await.expect_err("fails");
    assert!(matches!(error, RestoreError::Failed { .. }));
}

#[tokio::test]
async fn a_tool_that_changes_nothing_is_no_success() {
    let fixture = Fixture::new(MARIADB, "echo 'completed OK!'");
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NotCompleted { .. }));
}

#[tokio::test]
async fn compressed_files_are_decompressed_first() {
    let fixture = Fixture::new(MARIADB, GOOD);
    let info = fixture.backup().join("xtrabackup_info");
    let packed = zstd::encode_all(MARIADB.as_bytes(), 1).expect("compresses");
    fs::write(info.with_extension("zst"), packed).expect("writes");
    fs::remove_file(info).expect("removes");
    assert_eq!(fixture.prepare().await.expect("prepares").flavour, Flavour::Mariadb);
}

#[tokio::test]
async fn what_needs_keys_is_refused_with_the_reason() {
    let fixture = Fixture::new(PERCONA, GOOD);
    fixture.put("xtrabackup_keys", "");
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NoTransitionKey));
    fixture.put("sst_info", SST_INFO);
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::EncryptedTablespaces));
    fixture.put("ibdata1.xbcrypt", "");
    let error = fixture.prepare().await.expect_err("refuses");
    assert!(matches!(error, RestoreError::EncryptedFiles { .. }));
}

const SST_INFO: &str = "[sst]\ngalera-gtid=3ae18adc-e690-11f1-aa68-dbedcff0437f:39\n\
                        mysql-version=8.0.36-28.1\ntransition-key=abc\n";

/// Prepares, and moves what was prepared back but for one file, noting both calls.
const WITH_KEYS: &str = "printf '%s\\n' \"$@\" >> \"$HERE/arguments\"\n\
    case \"$1\" in\n\
    --prepare) echo 'backup_type = full-prepared' > \"$HERE/backup/xtrabackup_checkpoints\" ;;\n\
    --move-back) mv \"$HERE/backup/.prepared/ibdata1\" \"$HERE/backup/\" ;;\n\
    esac\n\
    echo 'completed OK!'\n";

#[tokio::test]
async fn encrypted_tablespaces_get_the_new_keyrings_master_key() {
    let fixture = Fixture::new(PERCONA, WITH_KEYS);
    fixture.put("xtrabackup_keys", "");
    fixture.put("sst_info", SST_INFO);
    fixture.put("ibdata1", "data");
    let config = PrepareConfig {
        any_tool_version: true,
        move_back_arguments: vec!["--component-keyring-config=/k".into()],
        ..fixture.config()
    };
    prepare(&fixture.backup(), None, &config).await.expect("prepares");
    let said = fs::read_to_string(fixture.directory.path().join("arguments")).expect("was run");
    assert_eq!(said.matches("--transition-key=abc").count(), 2, "{said}");
    for argument in ["--move-back", "--generate-new-master-key", "--component-keyring-config=/k"] {
        assert!(said.lines().any(|line| line == argument), "{argument}: {said}");
    }
    let left = |name: &str| fixture.backup().join(name).exists();
    assert!(left("ibdata1") && left("xtrabackup_info") && !left(".prepared"));
}

#[test]
fn old_percona_tools_are_told_to_read_the_binary_log() {
    let version = Version { major: 2, minor: 4, patch: 29 };
    let config = PrepareConfig {
        use_memory_bytes: Some(1 << 30),
        extra_arguments: vec!["--x".into()],
        ..PrepareConfig::default()
    };
    assert_eq!(
        prepare_arguments(Path::new("/d"), Flavour::Percona, version, &config),
        ["--prepare", "--target-dir=/d", "--binlog-info=ON", "--use-memory=1073741824", "--x"]
    );
}
