use proptest::prelude::*;

use super::*;
use crate::pipeline::manifest::BackupId;

fn id() -> BackupId {
    "20261122T161817Z-1a2b3c4d".parse().expect("valid id")
}

fn pack(raw_offset: u64, raw_bytes: u64) -> PackRecord {
    PackRecord {
        name: format!("packs/{raw_offset:06}.zst"),
        bytes: 10_000,
        hash: Digest::of(b"pack"),
        raw_offset,
        raw_bytes,
        blocks: 2,
        table_hash: Digest::of(b"table"),
    }
}

fn file(path: &[u8], bytes: u64, extents: &[(u64, u64, u64)]) -> FileRecord {
    let extents = extents.iter().map(|&(file_offset, raw_offset, length)| Extent {
        file_offset,
        raw_offset,
        length,
    });
    FileRecord {
        path: EntryPath::parse(path).expect("valid path"),
        bytes,
        hash: Digest::of(path),
        extents: extents.collect(),
    }
}

fn sample() -> Index {
    Index {
        packs: vec![pack(0, 300), pack(300, 200)],
        files: vec![
            file(b"db/\xff.ibd", 20, &[(0, 480, 10)]),
            file(b"empty", 0, &[]),
            file(b"ibdata1", 400, &[(0, 0, 100), (200, 200, 200)]),
        ],
    }
}

fn round_trip(index: &Index) -> Result<Index, RepositoryError> {
    let bytes = encode(&id(), &index.packs, index.files.iter()).expect("encodes");
    decode("index", &id(), &bytes)
}

#[test]
fn an_index_round_trips() {
    assert_eq!(round_trip(&sample()).expect("decodes"), sample());
}

#[test]
fn files_are_found_by_name() {
    let index = sample();
    let path = EntryPath::parse(b"ibdata1").expect("valid path");
    assert_eq!(index.file(&path).map(FileRecord::bytes), Some(400));
    assert!(index.file(&EntryPath::parse(b"ibdata2").expect("valid path")).is_none());
}

#[test]
fn another_backups_index_is_refused() {
    let other = "20261122T161817Z-00000000".parse().expect("valid id");
    let bytes = encode(&other, &[], [].iter()).expect("encodes");
    assert!(decode("index", &id(), &bytes).is_err());
}

#[test]
fn a_cut_index_is_refused() {
    let mut lines = zstd::decode_all(
        &encode(&id(), &sample().packs, sample().files.iter()).expect("encodes")[..],
    )
    .expect("decompresses");
    let end = lines.iter().rposition(|&byte| byte == b'{').expect("an end line");
    let end = lines[..end].iter().rposition(|&byte| byte == b'\n').expect("a line before");
    lines.truncate(end + 1);
    let error = decode("index", &id(), &zstd::encode_all(&lines[..], 3).expect("compresses"));
    assert!(matches!(error, Err(RepositoryError::Damaged { fault: Fault::IndexEnd, .. })));
}

fn fault_of(change: impl FnOnce(&mut Index)) -> Fault {
    let mut index = sample();
    change(&mut index);
    match round_trip(&index) {
        Err(RepositoryError::Damaged { fault, .. }) => fault,
        other => panic!("expected damage, got {other:?}"),
    }
}

#[test]
fn impossible_indexes_are_refused() {
    assert_eq!(fault_of(|index| index.packs[1].raw_offset = 299), Fault::Packs);
    assert_eq!(fault_of(|index| index.packs[1].raw_bytes = u64::MAX), Fault::Packs);
    assert_eq!(fault_of(|index| index.packs[1].name = "../x".into()), Fault::Packs);
    assert_eq!(fault_of(|index| index.packs[1].blocks = u64::MAX), Fault::Packs);
    assert_eq!(fault_of(|index| index.files[2].extents[1].length = u64::MAX), Fault::Extents);
    assert_eq!(fault_of(|index| index.files[2].extents[1].raw_offset = 400), Fault::Extents);
    assert_eq!(fault_of(|index| index.files[2].extents[1].raw_offset = 99), Fault::Extents);
    assert_eq!(fault_of(|index| index.files[2].bytes = 399), Fault::Extents);
    assert_eq!(
        fault_of(|index| index.files[2].path = index.files[1].path.clone()),
        Fault::Duplicate
    );
}

#[test]
fn overwriting_is_told_from_going_on() {
    assert!(!file(b"a", 100, &[(0, 0, 10), (10, 10, 10), (90, 20, 10)]).is_overwritten());
    assert!(file(b"a", 100, &[(0, 0, 100), (37, 100, 7)]).is_overwritten());
}

proptest! {
    #[test]
    fn mangled_indexes_never_panic(at: prop::sample::Index, byte: u8) {
        let bytes = encode(&id(), &sample().packs, sample().files.iter()).expect("encodes");
        let mut lines = zstd::decode_all(&bytes[..]).expect("decompresses");
        let at = at.index(lines.len());
        lines[at] = byte;
        let _ = decode("index", &id(), &zstd::encode_all(&lines[..], 1).expect("compresses"));
    }
}
