//! Certificates made as people make them: by the commands of the MySQL manual, with their mistakes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A directory in which `openssl` is run, with the CA of MySQL's how-to in it.
pub(crate) struct HowTo {
    directory: TempDir,
    next_serial: AtomicU32,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

impl HowTo {
    /// `openssl genrsa`, `openssl req -new -x509`: the CA.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let howto = Self { directory, next_serial: AtomicU32::new(2) };
        howto.authority("ca");
        howto
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The CA's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Runs `openssl` with these words.
    pub(crate) fn openssl(&self, words: &str) {
        let mut command = Command::new("openssl");
        command.args(words.split_whitespace()).current_dir(self.directory.path());
        let output = command.output().expect("run openssl");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words}: {error}");
    }

    /// One more authority as `NAME.pem` and `NAME-key.pem`.
    pub(crate) fn authority(&self, name: &str) -> PathBuf {
        self.openssl(&format!("genrsa -out {name}-key.pem 2048"));
        self.openssl(&format!(
            "req -new -x509 -nodes -days 3600 -key {name}-key.pem -out {name}.pem -subj /CN={name}"
        ));
        self.path(&format!("{name}.pem"))
    }

    /// The manual's way to a server certificate: an X.509 version 1 leaf without any extension.
    pub(crate) fn version_1(&self, name: &str) -> Pair {
        self.request(name, 2048);
        self.openssl(&format!(
            "x509 -req -in {name}-req.pem -days 3600 -CA ca.pem -CAkey ca-key.pem \
             -set_serial 01 -out {name}.pem"
        ));
        self.pair(name)
    }

    /// A leaf with extensions, `key=value` lines of an OpenSSL extension file.
    pub(crate) fn with_extensions(&self, name: &str, extensions: &str) -> Pair {
        self.request(name, 2048);
        self.sign(name, extensions, "ca");
        self.pair(name)
    }

    /// A key and a request for a certificate.
    pub(crate) fn request(&self, name: &str, bits: u32) {
        self.openssl(&format!(
            "req -newkey rsa:{bits} -nodes -keyout {name}-key.pem -out {name}-req.pem \
             -subj /CN={name}"
        ));
    }

    /// Has a request signed by `authority`.
    pub(crate) fn sign(&self, name: &str, extensions: &str, authority: &str) {
        std::fs::write(self.path(&format!("{name}.ext")), extensions).expect("write");
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        self.openssl(&format!(
            "x509 -req -in {name}-req.pem -days 3600 -CA {authority}.pem \
             -CAkey {authority}-key.pem -set_serial {serial} -extfile {name}.ext -out {name}.pem"
        ));
    }

    /// A leaf that is only valid between two moments, as `YYYYMMDDHHMMSSZ`.
    pub(crate) fn valid_between(&self, name: &str, from: &str, to: &str) -> Pair {
        self.request(name, 2048);
        // Tests share the directory: each certificate has a database of its own.
        let database = self.path(&format!("{name}-database"));
        std::fs::create_dir(&database).expect("make a directory");
        let settings = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={name}-database/index\n\
             new_certs_dir={name}-database\nserial={name}-database/serial\ndefault_md=sha256\n\
             policy=p\n[p]\ncommonName=supplied\n"
        );
        std::fs::write(database.join("ca.cnf"), settings).expect("write");
        std::fs::write(database.join("index"), "").expect("write");
        std::fs::write(database.join("serial"), "1000").expect("write");
        self.openssl(&format!(
            "ca -batch -config {name}-database/ca.cnf -in {name}-req.pem -cert ca.pem -keyfile ca-key.pem \
             -startdate {from} -enddate {to} -notext -out {name}.pem"
        ));
        self.pair(name)
    }

    /// One self-signed certificate that is its own authority.
    pub(crate) fn self_signed(&self, name: &str) -> Pair {
        self.openssl(&format!(
            "req -new -x509 -newkey rsa:2048 -nodes -days 3600 -keyout {name}-key.pem \
             -out {name}.pem -subj /CN={name}"
        ));
        self.pair(name)
    }

    /// Files appended to each other.
    pub(crate) fn concatenate(&self, parts: &[&Path], name: &str) -> PathBuf {
        let whole: Vec<u8> =
            parts.iter().flat_map(|part| std::fs::read(part).expect("read")).collect();
        std::fs::write(self.path(name), whole).expect("write");
        self.path(name)
    }

    /// The pair of this name.
    pub(crate) fn pair(&self, name: &str) -> Pair {
        Pair {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}-key.pem")),
        }
    }
}
