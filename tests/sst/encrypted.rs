//! Donors with `encrypt=1`: opened with their key, in every way in which `openssl enc` makes one.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use galera_protocol::sst::conversation::{End, Failure};
use galera_sst::sst::{Algorithm, Config, DecryptionKey, Listen, SstListener, TransferError};
use openssl::sha::sha256;
use openssl::symm::{Cipher, encrypt};

use crate::donor::{self, Dialect, Donor};
use crate::receiver::{Outcome, Receiver, accepted, short_limits};
use crate::success::assert_complete;

const SECRET: &str = "correct horse";

/// What `openssl enc` makes of these bytes.
fn encrypted(options: &str, bytes: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .arg("enc")
        .args(options.split(' '))
        .args(["-pass", &format!("pass:{SECRET}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run openssl");
    let mut input = openssl.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes).expect("write"));
    let output = openssl.wait_with_output().expect("read");
    writer.join().expect("written");
    output.stdout
}

async fn serve(donor: Donor, secret: &str, algorithm: &str) -> Outcome {
    let listen = Listen::On(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
    let config = Config { listen, conversation: short_limits(), ..Config::default() };
    let algorithm: Algorithm = algorithm.parse().expect("an algorithm");
    let key = DecryptionKey { secret: secret.into(), algorithm };
    let listener = SstListener::bind(config).expect("bind to loopback").with_key(key);
    let receiver = Receiver::run(listener);
    receiver.tell(accepted()).await;
    receiver.serve(donor).await
}

fn donor(options: &str) -> Donor {
    let metadata = encrypted(options, &donor::metadata(Dialect::MariaDb));
    Donor::sending(metadata, encrypted(options, &donor::backup(Dialect::MariaDb)))
}

#[tokio::test]
async fn streams_of_openssl_enc_are_opened_however_their_key_was_made() {
    for (options, algorithm) in [
        ("-aes-256-cbc -pbkdf2", "aes-256-cbc"),
        ("-aes-256-cbc -pbkdf2 -iter 1", "AES-256-CBC"),
        ("-aes-128-cbc -md sha256", "aes-128-cbc"),
        ("-aes-256-ctr -pbkdf2", "aes-256-ctr"),
    ] {
        let outcome = serve(donor(options), SECRET, algorithm).await;
        assert_complete(&outcome, &donor::backup(Dialect::MariaDb));
    }
}

/// What `xbcrypt` makes of these bytes: chunks that each begin with a counter of their own.
fn xbcrypted(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let cipher = if key.len() == 16 { Cipher::aes_128_ctr() } else { Cipher::aes_256_ctr() };
    let mut chunks = Vec::new();
    for (number, piece) in (0_u8..=u8::MAX).cycle().zip(bytes.chunks(64 << 10)) {
        let vector = [number ^ 0xa5; 16];
        let plain = [piece, &sha256(piece)].concat();
        let data = encrypt(cipher, key, Some(&vector), &plain).expect("encrypt");
        let size = (data.len() as u64).to_le_bytes();
        chunks.extend_from_slice(b"XBCRYP03\0\0\0\0\0\0\0\0");
        chunks.extend([size, size].concat());
        chunks.extend(crc32fast::hash(&data).to_le_bytes());
        chunks.extend(16_u64.to_le_bytes());
        chunks.extend([vector.to_vec(), data].concat());
    }
    chunks
}

#[tokio::test]
async fn streams_of_xbcrypt_are_opened_with_a_key_of_either_length() {
    let (metadata, backup) = (donor::metadata(Dialect::Pxc57), donor::backup(Dialect::Pxc57));
    for key in ["0123456789abcdef", "0123456789abcdef0123456789abcdef"] {
        let encrypt = |bytes: &[u8]| xbcrypted(key.as_bytes(), bytes);
        let donor = || Donor::sending(encrypt(&metadata), encrypt(&backup));
        assert_complete(&serve(donor(), key, "aes-256-cbc").await, &backup);
        let outcome = serve(donor(), "fedcba9876543210", "aes-256-cbc").await;
        let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
        assert_eq!(failure, Failure::Undeciphered);
    }
}

#[tokio::test]
async fn a_damaged_chunk_of_xbcrypt_is_named() {
    let key = "0123456789abcdef";
    let metadata = xbcrypted(key.as_bytes(), &donor::metadata(Dialect::Pxc57));
    let mut backup = xbcrypted(key.as_bytes(), &donor::backup(Dialect::Pxc57));
    let middle = backup.len() / 2;
    backup[middle] ^= 1;
    let outcome = serve(Donor::sending(metadata, backup), key, "aes-256-cbc").await;
    let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
    assert_eq!(failure, Failure::Undeciphered);
}

#[tokio::test]
async fn a_wrong_key_is_named_at_once() {
    for (secret, algorithm) in [("wrong horse", "aes-256-cbc"), (SECRET, "aes-128-cbc")] {
        let outcome = serve(donor("-aes-256-cbc -pbkdf2"), secret, algorithm).await;
        let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
        assert_eq!(failure, Failure::Undeciphered);
    }
}

#[tokio::test]
async fn a_cut_in_encrypted_data_is_no_end() {
    let metadata = encrypted("-aes-256-cbc -pbkdf2", &donor::metadata(Dialect::MariaDb));
    let mut backup = encrypted("-aes-256-cbc -pbkdf2", &donor::backup(Dialect::MariaDb));
    backup.truncate(backup.len() - 5);
    let outcome = serve(Donor::sending(metadata, backup), SECRET, "aes-256-cbc").await;
    let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
    assert!(matches!(failure, Failure::Interrupted { end: End::Truncated, .. }), "{failure:?}");
}

#[tokio::test]
async fn without_a_key_the_encryption_is_named() {
    let receiver = Receiver::accepted(short_limits()).await;
    let outcome = receiver.serve(donor("-aes-256-cbc -pbkdf2")).await;
    let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
    assert!(failure.to_string().contains("--sst-encrypt-key-file"), "{failure}");
}
