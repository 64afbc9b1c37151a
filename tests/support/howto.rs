//! Certificates made as people make them: by the commands of the MySQL manual, with their mistakes.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A directory in which `openssl` is run, with the CA of MySQL's how-to in it.
pub(crate) struct HowTo {
    directory: TempDir,
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
        let howto = Self { directory: tempfile::tempdir().expect("a directory") };
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
        std::fs::write(self.path("extensions"), extensions).expect("write");
        self.openssl(&format!(
            "x509 -req -in {name}-req.pem -days 3600 -CA {authority}.pem \
             -CAkey {authority}-key.pem -CAcreateserial -extfile extensions -out {name}.pem"
        ));
    }

    /// A leaf that is only valid between two moments, as `YYYYMMDDHHMMSSZ`.
    pub(crate) fn valid_between(&self, name: &str, from: &str, to: &str) -> Pair {
        self.request(name, 2048);
        std::fs::write(self.path("index.txt"), "").expect("write");
        let settings = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\n\
                        serial=serial\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
        std::fs::write(self.path("ca.cnf"), settings).expect("write");
        std::fs::write(self.path("serial"), "1000").expect("write");
        self.openssl(&format!(
            "ca -batch -config ca.cnf -in {name}-req.pem -cert ca.pem -keyfile ca-key.pem \
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
