use std::fs;

use super::*;
use crate::restore::position::PositionSource;

const UUID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/restore/finish/stand-in-server.sh");

/// A directory as mariadb-backup leaves it after preparing, at seqno 108.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn prepared() -> Self {
        let fixture = Self { directory: tempfile::tempdir().expect("a directory") };
        fs::create_dir(fixture.datadir()).expect("makes a directory");
        fixture.put("ibdata1", "");
        fixture.put("auto.cnf", "");
        fixture.put("xtrabackup_checkpoints", "backup_type = log-applied\n");
        fixture.put("xtrabackup_info", "tool_name = mariadb-backup\nend_time = 2026-11-22\n");
        fixture.put("xtrabackup_galera_info", &format!("{UUID}:108 0"));
        fixture.put("xtrabackup_galera_info_SST", &format!("{UUID}:111 0\n"));
        fixture
    }

    fn datadir(&self) -> PathBuf {
        self.directory.path().join("mysql")
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.datadir().join(name), text).expect("writes");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.datadir().join(name)).expect("removes");
    }

    fn will_recover(&self, position: &str) {
        fs::write(self.directory.path().join("recovered"), position).expect("writes");
    }

    fn grastate(&self) -> Option<String> {
        fs::read_to_string(self.datadir().join("grastate.dat")).ok()
    }

    async fn finish(
        &self,
        role: Option<Role>,
        cross_check: bool,
        known: Option<Known>,
    ) -> Result<Option<Position>, RestoreError> {
        let position = PositionConfig {
            server: Some(SERVER.into()),
            cross_check,
            limit: Duration::from_secs(30),
        };
        let config = FinishConfig { role, position, ..FinishConfig::default() };
        finish(&self.datadir(), known, &config).await
    }
}

fn known(uuid: &str) -> Option<Known> {
    let uuid = uuid.parse().expect("valid UUID");
    Some(Known { flavour: Flavour::Mariadb, uuid, seqno_at_least: 74 })
}

fn position(seqno: i64, source: PositionSource) -> Option<Position> {
    Some(Position { uuid: UUID.parse().expect("valid UUID"), seqno, source })
}

#[tokio::test]
async fn a_prepared_directory_joins_unless_told_otherwise() {
    let fixture = Fixture::prepared();
    let found = fixture.finish(None, false, known(UUID)).await.expect("finishes");
    assert_eq!(found, position(108, PositionSource::Prepared));
    let grastate = fixture.grastate().expect("a grastate.dat");
    assert!(grastate.ends_with("seqno:   108\nsafe_to_bootstrap: 0\n"), "{grastate}");
    assert!(!fixture.datadir().join("auto.cnf").exists());
    assert!(!fixture.datadir().join("xtrabackup_galera_info").exists());
}

#[tokio::test]
async fn a_streamed_position_is_not_believed() {
    let fixture = Fixture::prepared();
    fixture.remove("xtrabackup_galera_info_SST");
    fixture.will_recover(&format!("{UUID}:107"));
    let found = fixture.finish(Some(Role::Bootstrap), false, None).await.expect("finishes");
    assert_eq!(found, position(107, PositionSource::Recovered));
    assert!(fixture.grastate().expect("a grastate.dat").ends_with("safe_to_bootstrap: 1\n"));
}

#[tokio::test]
async fn two_positions_must_agree() {
    let fixture = Fixture::prepared();
    fixture.will_recover(&format!("{UUID}:107"));
    let error = fixture.finish(Some(Role::Bootstrap), true, None).await.expect_err("disagree");
    assert!(matches!(error, RestoreError::PositionMismatch { .. }));
    assert_eq!(fixture.grastate(), None);
    fixture.will_recover(&format!("{UUID}:108"));
    fixture.finish(Some(Role::Bootstrap), true, None).await.expect("agree");
}

#[tokio::test]
async fn another_history_is_refused() {
    let fixture = Fixture::prepared();
    let other = known("6a1b2c3d-4e5f-11ee-8a7b-0123456789ab");
    let error = fixture.finish(Some(Role::Bootstrap), false, other).await.expect_err("refuses");
    assert!(matches!(error, RestoreError::OtherHistory { .. }));
    assert_eq!(fixture.grastate(), None);
}

#[tokio::test]
async fn no_position_is_an_error_only_for_who_needs_one() {
    let fixture = Fixture::prepared();
    fixture.remove("xtrabackup_galera_info");
    fixture.will_recover("00000000-0000-0000-0000-000000000000:-1");
    let error = fixture.finish(Some(Role::Ordinal(2)), false, None).await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NoPosition { .. }));
    assert_eq!(fixture.finish(None, false, None).await.expect("finishes"), None);
    assert_eq!(fixture.grastate(), None);
}

#[tokio::test]
async fn a_role_needs_a_prepared_directory() {
    let fixture = Fixture::prepared();
    fixture.put("xtrabackup_checkpoints", "backup_type = full-backuped\n");
    let error = fixture.finish(Some(Role::Bootstrap), false, None).await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NotPrepared));
    assert_eq!(fixture.finish(None, false, None).await.expect("finishes"), None);
    assert!(fixture.datadir().join("auto.cnf").exists());
}
