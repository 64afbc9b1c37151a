//! `verify --pages` on what a real server wrote: clean where nothing is wrong, exact where something is.
//!
//! The server runs as `mariadbd --bootstrap`: statements in, files out, no port.

use std::io::Write as _;
use std::process::Stdio;

use galera_sst::pages::{BadPage, FilePages, PageFault, Scan, Unchecked, is_innodb_file};

use super::*;

const TABLES: &str = "create database shop;
use shop;
create table shop.plain (id int primary key, v varchar(500)) engine=innodb;
insert into shop.plain select seq, repeat(sha1(seq), 8) from seq_1_to_3000;
create table shop.spot (id int primary key, p point not null, spatial index (p)) engine=innodb;
insert into shop.spot select seq, point(seq, seq % 7) from seq_1_to_2000;
delete from shop.plain where id % 3 = 0;
";

/// Only servers with pages of up to 16 KiB have it.
const ROW_COMPRESSED: &str =
    "create table shop.small (id int primary key, v text) engine=innodb row_format=compressed;
insert into shop.small select seq, repeat(sha1(seq), 8) from seq_1_to_500;
";

const PAGE_COMPRESSED: &str =
    "create table shop.tight (id int primary key, v text) engine=innodb page_compressed=1;
insert into shop.tight select seq, repeat(sha1(seq), 8) from seq_1_to_500;
";

const ENCRYPTED: &str =
    "create table shop.secret (id int primary key, v text) engine=innodb encrypted=yes;
insert into shop.secret select seq, repeat(sha1(seq), 8) from seq_1_to_500;
";

/// A data directory that a server made with these settings.
fn data_directory(settings: &[&str], statements: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = directory.path().join("keys");
    std::fs::write(&keys, format!("1;{}\n", "0f".repeat(32))).expect("written");
    let place = directory.path().join("data");
    let own = [
        format!("--datadir={}", place.display()),
        "--innodb-undo-tablespaces=2".to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
        "--plugin-load-add=file_key_management".to_owned(),
        format!("--file-key-management-filename={}", keys.display()),
    ];
    // Two servers that are installed at once get into each other's way.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    let installed = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(&own)
        .args(settings)
        .arg(format!("--user={user}"))
        .output()
        .expect("runs mariadb-install-db");
    let said = String::from_utf8_lossy(&installed.stdout);
    assert!(installed.status.success(), "{settings:?}: {said}");
    let mut server = Command::new("mariadbd")
        .args(["--no-defaults", "--bootstrap", "--innodb-fast-shutdown=0"])
        .args(&own)
        .args(settings)
        .arg(format!("--user={user}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs mariadbd");
    server.stdin.take().expect("piped").write_all(statements.as_bytes()).expect("taken");
    let output = server.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "{settings:?}: {said}");
    directory
}

fn path(name: &Path) -> EntryPath {
    EntryPath::parse(name.as_os_str().as_encoded_bytes()).expect("valid")
}

/// The pages of all files of a data directory.
fn scan(directory: &Path) -> Vec<FilePages> {
    let names = files_below(directory, directory);
    let names = names.iter().filter(|name| is_innodb_file(&path(name)));
    let scanned = names.map(|name| {
        let mut scan = Scan::new(&path(name));
        for piece in std::fs::read(directory.join(name)).expect("reads").chunks(1_000_003) {
            scan.write(piece);
        }
        scan.finish()
    });
    scanned.collect()
}

fn of<'a>(pages: &'a [FilePages], name: &str) -> &'a FilePages {
    pages.iter().find(|file| file.path.to_string() == name).expect("a file of that name")
}

#[test]
#[ignore = "needs mariadbd"]
fn what_a_server_wrote_is_sound_whatever_its_page_size_and_checksum() {
    for checksum in ["full_crc32", "crc32"] {
        for kib in [4, 8, 16, 32, 64] {
            let page_size = format!("--innodb-page-size={kib}K");
            let checksum = format!("--innodb-checksum-algorithm={checksum}");
            let compressed = if kib <= 16 { ROW_COMPRESSED } else { "" };
            let statements = [TABLES, PAGE_COMPRESSED, compressed, ENCRYPTED].concat();
            let made = data_directory(&[&page_size, &checksum], &statements);
            let pages = scan(&made.path().join("data"));
            for file in &pages {
                assert_eq!(file.bad_pages, [], "{kib} KiB {checksum} {}", file.path);
                // Compressed rows have pages of half the size.
                let half = usize::from(file.path.to_string() == "shop/small.ibd");
                assert_eq!(file.page_bytes, Some(kib << 10 >> half), "{}", file.path);
            }
            for name in ["ibdata1", "undo001", "undo002", "shop/plain.ibd", "shop/spot.ibd"] {
                assert!(of(&pages, name).sound >= 4, "{kib} KiB {checksum} {name}");
            }
            for name in ["undo001", "shop/plain.ibd", "shop/spot.ibd"] {
                assert_eq!(of(&pages, name).unchecked, 0, "{kib} KiB {checksum} {name}");
            }
            if kib <= 16 {
                let small = of(&pages, "shop/small.ibd");
                assert_eq!((small.sound, small.why_unchecked), (0, Some(Unchecked::Compressed)));
            }
            let is_full = checksum.ends_with("full_crc32");
            let why = |name: &str| of(&pages, name).why_unchecked;
            assert_eq!(why("shop/tight.ibd"), (!is_full).then_some(Unchecked::Compressed));
            assert_eq!(why("shop/secret.ibd"), (!is_full).then_some(Unchecked::Encrypted));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mariadbd"]
async fn planted_damage_is_found_page_by_page_in_a_repository() {
    let made = data_directory(&[], TABLES);
    let data = made.path().join("data");
    let plain = data.join("shop/plain.ibd");
    let mut bytes = std::fs::read(&plain).expect("reads");
    let page = |number: usize| number * 16_384;
    // A flipped bit; the first half of an older write; a page in another's place.
    bytes[page(4) + 9000] ^= 4;
    bytes[page(5) + 23] ^= 1;
    bytes.copy_within(page(6)..page(7), page(7));
    std::fs::write(&plain, &bytes).expect("writes");

    let lab = Lab::new();
    let id = store_any(&lab, &data).await;
    let repository = Repository::open(&lab.url).await.expect("opens");
    let backup = repository.backup(&id).await.expect("opens");
    assert!(backup.verify(&ReadConfig::default()).await.expect("verifies").is_sound());
    let report = backup.verify_pages(&ReadConfig::default()).await.expect("verifies");
    assert!(!report.is_sound() && report.damage.is_empty());
    let pages = report.pages.expect("asked for");
    let bad: Vec<_> = pages.iter().filter(|file| file.bad > 0).collect();
    assert_eq!(bad.len(), 1);
    let expected = [
        BadPage { page: 4, fault: PageFault::Checksum },
        BadPage { page: 5, fault: PageFault::Torn },
        BadPage { page: 7, fault: PageFault::Misplaced { found: 6 } },
    ];
    assert_eq!(
        (bad[0].path.to_string().as_str(), &bad[0].bad_pages[..]),
        ("shop/plain.ibd", &expected[..])
    );
    assert!(bad[0].space_id.is_some_and(|id| id > 0));
    assert_eq!(pages.len(), scan(&data).len());
}

/// Every file of a directory, whatever it is.
async fn store_any(lab: &Lab, directory: &Path) -> BackupId {
    let id = BackupId::generate();
    let mut sink =
        PackSink::create(&lab.url, id.clone(), PackConfig::default()).await.expect("makes a sink");
    for together in files_below(directory, directory).chunks(7) {
        feed(&mut sink, directory, together).await;
    }
    let state = StateSeen { uuid: Default::default(), seqno_at_least: 1 };
    sink.commit(manifest(&id, state)).await.expect("commits");
    id
}
