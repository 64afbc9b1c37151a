//! One row of docs/broken-setups.md: a set-up that cannot work, what `backup` says about it and with
//! which exit code, and whether `doctor` names the cause.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::LazyLock;

use crate::howto::{HowTo, Pair};

const TABLE: &str = include_str!("../../docs/broken-setups.md");

/// Certificates of all kinds, made once.
pub(crate) struct Lab {
    pub(crate) howto: HowTo,
    /// A good one.
    pub(crate) good: Pair,
    /// Signed by another CA.
    pub(crate) foreign: Pair,
}

pub(crate) static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let howto = HowTo::new();
    howto.authority("other");
    howto.request("foreign", 2048);
    howto.sign("foreign", "", "other");
    let good = howto.version_1("good");
    let foreign = howto.pair("foreign");
    Lab { howto, good, foreign }
});

/// What `doctor` can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doctor {
    /// The cause, without becoming a member.
    Names,
    /// The cause, once it has tried to become a member.
    NamesByJoining,
}

/// One row.
pub(crate) struct Row {
    /// The set-up, in the words of the table.
    pub(crate) setup: &'static str,
    /// Where the group is said to be.
    pub(crate) address: String,
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
    /// The exit code.
    pub(crate) code: i32,
    /// The sentence, with `ADDRESS` for the peer, `FILE` for any file, `TARGET` for any object.
    pub(crate) sentence: &'static str,
    /// What `doctor` sees.
    pub(crate) doctor: Doctor,
}

impl Row {
    /// A row about whoever answers at `peer`.
    pub(crate) fn about(setup: &'static str, peer: SocketAddr) -> Self {
        Self::at(setup, &peer.to_string())
    }

    /// A row about an address.
    pub(crate) fn at(setup: &'static str, address: &str) -> Self {
        let (address, arguments) = (address.to_owned(), Vec::new());
        Self { setup, address, arguments, code: 0, sentence: "", doctor: Doctor::Names }
    }

    /// Adds arguments, divided by blanks.
    pub(crate) fn with(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// Adds one of Galera's options.
    pub(crate) fn option(self, option: &str) -> Self {
        self.with(&format!("--options gmcast.listen_addr=tcp://127.0.0.1:0;{option}"))
    }

    /// Adds our certificate and the CA that we trust.
    pub(crate) fn keys(self, pair: &Pair, ca: &str) -> Self {
        let certificate = pair.certificate.display();
        let (key, ca) = (pair.key.display(), LAB.howto.path(ca));
        let ca = ca.display();
        self.with(&format!("--ssl-cert {certificate} --ssl-key {key} --ssl-ca {ca}"))
    }

    /// `doctor` has to join to see it.
    pub(crate) fn seen_by_joining(mut self) -> Self {
        self.doctor = Doctor::NamesByJoining;
        self
    }

    /// Runs both commands and compares what they say with the table.
    pub(crate) fn ends(mut self, code: i32, sentence: &'static str) {
        (self.code, self.sentence) = (code, sentence);
        self.check_backup();
        self.check_doctor();
        self.check_table();
    }

    fn check_table(&self) {
        let Self { setup, code, sentence, .. } = self;
        let seen = match self.doctor {
            Doctor::Names => "yes",
            Doctor::NamesByJoining => "yes, by joining",
        };
        let row = format!("| {setup} | {sentence} | {code} | {seen} |");
        assert!(TABLE.lines().any(|line| line == row), "docs/broken-setups.md lacks\n{row}");
    }

    fn check_backup(&self) {
        let mut arguments = vec!["backup", "--connect-timeout", "4"];
        if !self.arguments.iter().any(|argument| argument == "--to") {
            arguments.extend(["--to", "null:"]);
        }
        arguments.extend(self.common());
        let output = run(&arguments);
        let said = self.neutral(&String::from_utf8_lossy(&output.stderr));
        let expected = format!("galera-sst: {}", self.sentence);
        let is_said = said.lines().any(|line| line == expected);
        assert!(is_said, "expected\n{expected}\nsaid\n{said}");
        assert_eq!(output.status.code(), Some(self.code), "{said}");
        assert!(output.stdout.is_empty());
    }

    fn check_doctor(&self) {
        let mut arguments = vec!["doctor"];
        if self.doctor == Doctor::Names {
            arguments.push("--no-join");
        }
        arguments.extend(self.common());
        let output = run(&arguments);
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = self.neutral(&String::from_utf8_lossy(&text));
        let cause = self.sentence.strip_prefix("join the group: ").unwrap_or(self.sentence);
        assert!(said.contains(cause), "doctor does not say\n{cause}\nbut\n{said}");
        assert_eq!(output.status.code(), Some(self.code), "{said}");
    }

    fn common(&self) -> Vec<&str> {
        let mut arguments = vec!["--group", "g", "--address", &self.address];
        if !self.arguments.iter().any(|argument| argument == "--options") {
            arguments.extend(["--options", "gmcast.listen_addr=tcp://127.0.0.1:0"]);
        }
        if !self.arguments.iter().any(|argument| argument.starts_with("--listen")) {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        arguments.extend(self.arguments.iter().map(String::as_str));
        arguments
    }

    /// Addresses and paths differ from run to run.
    fn neutral(&self, text: &str) -> String {
        let directory = format!("{}/", LAB.howto.path("").display());
        let directory = directory.replace("//", "/");
        let address = self.address.trim_start_matches("gcomm://").trim_start_matches("ssl://");
        let text = text.replace(address, "ADDRESS");
        let words = text.split(' ').map(|word| {
            let neutral = if word.contains(&directory) {
                "FILE"
            } else if word.starts_with("s3://") {
                "TARGET"
            } else {
                return word.to_owned();
            };
            let colon = if word.ends_with(':') { ":" } else { "" };
            format!("{neutral}{colon}")
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GALERA_SST_") {
            command.env_remove(name);
        }
    }
    // Of a store that is never reached; without them the cloud's metadata service would be asked.
    command.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let arguments = arguments.iter().map(|argument| match *argument {
        // The scheme may be part of the row.
        address if address.starts_with("ssl://") => format!("gcomm://{address}"),
        other => other.to_owned(),
    });
    let arguments: Vec<_> = arguments.collect();
    let address = arguments.iter().position(|argument| argument == "--address").map(|at| at + 1);
    let arguments = arguments.iter().enumerate().map(|(at, argument)| {
        if Some(at) == address && !argument.starts_with("gcomm://") {
            format!("gcomm://{argument}")
        } else {
            argument.clone()
        }
    });
    command.args(arguments).output().expect("run galera-sst")
}

#[test]
fn every_row_of_the_table_has_its_test() {
    let tests = [
        include_str!("broken.rs"),
        include_str!("store.rs"),
        include_str!("../cluster/tls_broken.rs"),
    ]
    .concat();
    let rows = TABLE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| set-up"));
    let setups: Vec<_> = rows.filter_map(|row| row.split(" | ").next()).collect();
    assert!(setups.len() >= 25, "{} rows", setups.len());
    for setup in setups {
        let setup = setup.trim_start_matches("| ");
        assert!(tests.contains(&format!("\"{setup}\"")), "{setup}: no test");
    }
}
