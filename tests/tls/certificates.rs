//! Certificates as they are: each kind that people have, used by both ends of a link.

use galera_sst::net::stream::Security;
use galera_sst::net::tls::locate;
use galera_sst::net::tls::{KeyFiles, Keys};

use crate::howto::{HowTo, Pair};
use crate::links::{files, keys, meet};

async fn assert_links(keys: Keys, what: &str) {
    let security = Security::Tls(keys);
    meet(&security, &security).await.assert_linked(what).await;
}

#[tokio::test]
async fn the_certificates_of_mysqls_how_to_are_accepted() {
    let howto = HowTo::new();
    assert_links(keys(&howto.version_1("server"), howto.ca()), "version 1, no extensions").await;
    let odd = howto.with_extensions("odd_name", "subjectAltName=DNS:not.this.host");
    assert_links(keys(&odd, howto.ca()), "an odd name").await;
}

#[tokio::test]
async fn one_self_signed_certificate_serves_as_everything() {
    let howto = HowTo::new();
    let pair = howto.self_signed("all");
    let Pair { certificate, key } = pair;
    let files = KeyFiles { certificate, key, ..KeyFiles::default() };
    assert_links(Keys::open(files).expect("usable"), "self-signed, its own CA").await;
    // Made by `openssl x509 -req -signkey`, such a one has version 1 and is no CA by its own word.
    howto.request("bare", 2048);
    howto.openssl("x509 -req -in bare-req.pem -signkey bare-key.pem -days 300 -out bare.pem");
    let pair = howto.pair("bare");
    assert_links(keys(&pair, pair.certificate.clone()), "self-signed version 1").await;
}

#[tokio::test]
async fn intermediates_may_stand_behind_the_certificate() {
    let howto = HowTo::new();
    howto.request("intermediate", 2048);
    howto.sign("intermediate", "basicConstraints=critical,CA:TRUE", "ca");
    howto.request("leaf", 2048);
    howto.sign("leaf", "subjectAltName=DNS:leaf", "intermediate");
    let parts = [howto.path("leaf.pem"), howto.path("intermediate.pem")];
    let chain = howto.concatenate(&[&parts[0], &parts[1]], "chain.pem");
    let pair = Pair { certificate: chain, key: howto.path("leaf-key.pem") };
    assert_links(keys(&pair, howto.ca()), "a chain").await;
    let bundle = howto.concatenate(&[&howto.ca(), &parts[1]], "bundle.pem");
    assert_links(keys(&howto.pair("leaf"), bundle), "the intermediate in the CA file").await;
}

#[tokio::test]
async fn a_key_may_be_encrypted_in_either_form() {
    let howto = HowTo::new();
    let pair = howto.version_1("node");
    std::fs::write(howto.path("passphrase"), "sesame\nsecond line\n").expect("write");
    howto
        .openssl("rsa -aes256 -in node-key.pem -passout file:passphrase -traditional -out old.pem");
    howto.openssl("pkcs8 -topk8 -in node-key.pem -passout file:passphrase -out new.pem");
    for name in ["old.pem", "new.pem"] {
        let encrypted = KeyFiles { key: howto.path(name), ..files(&pair, howto.ca()) };
        let error = Keys::open(encrypted.clone()).expect_err("no passphrase");
        assert!(sentence(&error).contains("--ssl-password-file"), "{}", sentence(&error));
        let password = Some(howto.path("passphrase"));
        let opened = Keys::open(KeyFiles { password, ..encrypted.clone() });
        assert_links(opened.expect("opened"), name).await;
        std::fs::write(howto.path("wrong"), "open").expect("write");
        let wrong = KeyFiles { password: Some(howto.path("wrong")), ..encrypted };
        let error = Keys::open(wrong).expect_err("wrong passphrase");
        assert!(sentence(&error).contains("passphrase does not open"), "{}", sentence(&error));
    }
}

#[tokio::test]
async fn a_1024_bit_key_is_refused_with_its_reason_and_can_be_allowed() {
    let howto = HowTo::new();
    howto.request("short", 1024);
    howto.sign("short", "", "ca");
    let weak = files(&howto.pair("short"), howto.ca());
    let error = sentence(&Keys::open(weak.clone()).expect_err("refused"));
    assert!(error.contains("1024-bit") && error.contains("SECLEVEL=0"), "{error}");
    let ciphers = Some("DEFAULT@SECLEVEL=0".to_owned());
    assert_links(Keys::open(KeyFiles { ciphers, ..weak }).expect("allowed"), "1024 bits").await;
}

#[tokio::test]
async fn secrets_and_data_directories_are_found_by_their_names() {
    let howto = HowTo::new();
    let pair = howto.version_1("node");
    for names in [["ca.crt", "tls.crt", "tls.key"], ["ca.pem", "server-cert.pem", "server-key.pem"]]
    {
        let directory = tempfile::tempdir().expect("a directory");
        for (from, name) in
            [howto.ca(), pair.certificate.clone(), pair.key.clone()].iter().zip(names)
        {
            std::fs::copy(from, directory.path().join(name)).expect("copy");
        }
        let found = locate::in_directory(Some(directory.path())).expect("found");
        assert_links(Keys::open(found).expect("usable"), names[0]).await;
    }
}

/// An error with its causes, as people read it.
fn sentence(error: &dyn std::error::Error) -> String {
    let source = error.source().map(sentence).unwrap_or_default();
    format!("{error}: {source}")
}
