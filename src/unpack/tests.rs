use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Debug, Deserialize)]
struct Vector {
    expect: String,
    key: Option<String>,
    size: Option<usize>,
    sha256: Option<String>,
}

fn directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/vectors/members"].iter().collect()
}

fn vectors() -> BTreeMap<String, (Vector, Bytes)> {
    let text = std::fs::read(directory().join("expected.json")).expect("expectations");
    let expected: BTreeMap<String, Vector> = serde_json::from_slice(&text).expect("JSON");
    let with_bytes = |(name, vector): (String, Vector)| {
        let bytes = std::fs::read(directory().join(&name)).expect("vector");
        (name, (vector, Bytes::from(bytes)))
    };
    expected.into_iter().map(with_bytes).collect()
}

fn path(name: &str) -> EntryPath {
    EntryPath::parse(name.as_bytes()).expect("path")
}

/// Everything on, with a key that fits if one is needed.
fn unpack(key: Option<&str>) -> Unpack {
    let key = key.filter(|key| !key.is_empty()).unwrap_or("0123456789abcdef");
    let key = Key::new(key.as_bytes().to_vec()).expect("key");
    Unpack { decompress: true, key: Some(Arc::new(key)) }
}

fn plain(name: &str, key: Option<&str>, input: &Bytes, cut: usize) -> Result<Vec<u8>, UnpackError> {
    let (_, mut unpacker) = unpack(key).member(&path(name)).expect("a suffix");
    let mut plain = Vec::new();
    for piece in input.chunks(cut) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(out) = unpacker.next(&mut piece)? {
            plain.extend_from_slice(&out);
        }
    }
    unpacker.end()?;
    Ok(plain)
}

#[test]
fn every_vector_is_unpacked_or_refused_however_it_is_cut() {
    for (name, (vector, bytes)) in vectors() {
        for cut in [1, 7, 1000, 1 << 20] {
            let result = plain(&name, vector.key.as_deref(), &bytes, cut);
            if vector.expect == "accept" {
                let plain = result.unwrap_or_else(|error| panic!("{name} by {cut}: {error}"));
                assert_eq!(Some(plain.len()), vector.size, "{name} by {cut}");
                let hash: String =
                    Sha256::digest(&plain).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(Some(hash), vector.sha256, "{name} by {cut}");
            } else {
                assert!(result.is_err(), "{name} by {cut} was accepted");
            }
        }
    }
}

#[test]
fn mangled_members_never_panic() {
    for (name, (vector, bytes)) in vectors() {
        for at in (0..bytes.len().min(400)).chain(bytes.len().saturating_sub(50)..bytes.len()) {
            let mut mangled = bytes.to_vec();
            mangled[at] ^= 0x55;
            let _ = plain(&name, vector.key.as_deref(), &mangled.into(), 100);
            let _ = plain(&name, vector.key.as_deref(), &bytes.slice(..at), 100);
        }
    }
}

#[test]
fn a_member_that_was_compressed_and_then_encrypted_goes_back_both_ways() {
    let frames = &vectors()["75-two-frames.zst"].1;
    let chunk = encrypted(b"0123456789abcdef", frames);
    let plain = plain("db/t.ibd.zst.xbcrypt", None, &chunk, 5).expect("unpacked");
    assert_eq!(Some(plain.len()), vectors()["75-two-frames.zst"].0.size);
}

fn encrypted(key: &[u8], plain: &[u8]) -> Bytes {
    let hashed = [plain, Sha256::digest(plain).as_slice()].concat();
    let vector = [0x5a_u8; 16];
    let cipher = openssl::symm::Cipher::aes_128_ctr();
    let body = openssl::symm::encrypt(cipher, key, Some(&vector), &hashed).expect("encrypted");
    let mut chunk = b"XBCRYP03\0\0\0\0\0\0\0\0".to_vec();
    chunk.extend_from_slice(&(body.len() as u64).to_le_bytes());
    chunk.extend_from_slice(&(body.len() as u64).to_le_bytes());
    chunk.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    chunk.extend_from_slice(&16_u64.to_le_bytes());
    chunk.extend_from_slice(&vector);
    chunk.extend_from_slice(&body);
    chunk.into()
}

#[test]
fn names_lose_their_suffixes_and_others_stay_as_they_are() {
    let all = unpack(None);
    for (name, expected) in [
        ("db/t.ibd.zst", Some("db/t.ibd")),
        ("db/t.ibd.lz4.xbcrypt", Some("db/t.ibd")),
        ("db/t.ibd.xbcrypt", Some("db/t.ibd")),
        ("a.qp", Some("a")),
        ("db/t.ibd", None),
        (".zst", None),
        ("db/.zst", None),
    ] {
        let plain = all.member(&path(name)).map(|(plain, _)| plain);
        assert_eq!(plain, expected.map(path), "{name}");
    }
    let only_compressed = Unpack { decompress: true, key: None };
    assert!(only_compressed.member(&path("a.zst.xbcrypt")).is_none());
}

#[test]
fn a_key_file_with_a_newline_is_told_from_a_wrong_length() {
    let newline = Key::new(b"0123456789abcdef\n".to_vec()).expect_err("17 bytes");
    assert_eq!(newline, KeyError::Newline(17));
    assert_eq!(Key::new(vec![0; 20]).expect_err("20 bytes"), KeyError::Length(20));
    assert_eq!(Key::new(vec![0; 24]).expect("24 bytes").bits(), 192);
}
