//! Set-ups in which group and donor are reached and the transfer cannot work: the rows of
//! docs/broken-setups.md that need a real donor.

use std::path::Path;

use crate::{
    support::{
        cluster::Cluster,
        howto::{HowTo, Pair},
        job::Job,
        ports::Ports,
        wait::seconds,
    },
    tls::{MODERN, transfer_files},
};

const TABLE: &str = include_str!("../../docs/broken-setups.md");

/// A donor that fails 12 s after it began is a donor on a busy machine, too.
const LIMIT_SECONDS: u64 = 90;

/// One row.
struct Row {
    setup: &'static str,
    donor: Vec<String>,
    arguments: Vec<(&'static str, String)>,
    code: i32,
    sentence: &'static str,
}

impl Row {
    fn check(&self, cluster: &mut Cluster) {
        cluster.nodes[1].set_transfer(&self.donor);
        let mut job = Job::backup(cluster, "null:").flag("--donor", "n2");
        for (name, value) in &self.arguments {
            job = job.flag(name, value);
        }
        let outcome = job.run(seconds(LIMIT_SECONDS));
        let Self { setup, code, sentence, .. } = self;
        let said = outcome.stderr.replace("127.0.0.1", "ADDRESS");
        let expected = format!("galera-sst: {sentence}");
        let is_said = said.lines().any(|line| line == expected);
        assert!(is_said, "{setup}: expected\n{expected}\nsaid\n{said}");
        assert_eq!(outcome.code, Some(*code), "{setup}: {said}");
        let row = format!("| {setup} | {sentence} | {code} | only a transfer shows it |");
        assert!(TABLE.lines().any(|line| line == row), "docs/broken-setups.md lacks\n{row}");
        cluster.wait_healthy(2);
    }
}

fn ours(pair: &Pair, ca: &Path, mode: &str) -> Vec<(&'static str, String)> {
    vec![
        ("--sst-tls", mode.to_owned()),
        ("--sst-ssl-cert", pair.certificate.display().to_string()),
        ("--sst-ssl-key", pair.key.display().to_string()),
        ("--sst-ssl-ca", ca.display().to_string()),
    ]
}

fn donor(pair: &Pair, ca: &Path, mode: &str) -> Vec<String> {
    let mut lines = transfer_files(pair, ca, MODERN);
    lines.push(format!("ssl-mode={mode}"));
    lines
}

#[test]
#[ignore = "starts real servers"]
fn transfers_that_tls_forbids_say_why() {
    let howto = HowTo::new();
    let other = howto.authority("other");
    let (node, joiner) = (howto.version_1("donor.lab"), howto.version_1("joiner.lab"));
    howto.request("foreign", 2048);
    howto.sign("foreign", "", "other");
    let foreign = howto.pair("foreign");
    let old = howto.valid_between("old", "20200101000000Z", "20210101000000Z");
    let ca = howto.ca();
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    for row in [
        Row {
            setup: "the donor sends plain text, TLS is configured here",
            donor: vec![],
            arguments: ours(&joiner, &ca, "verify-ca"),
            code: 77,
            sentence: "the donor sends plain text, but TLS is required: configure it on both sides \
                       or none",
        },
        Row {
            setup: "the donor sends TLS, none is configured here",
            donor: donor(&node, &ca, "VERIFY_CA"),
            arguments: vec![],
            code: 77,
            sentence: "the donor sends TLS: configure TLS for the transfer here, or switch it off \
                       on the donor",
        },
        Row {
            setup: "the donor does not trust our certificate's CA",
            donor: donor(&foreign, &other, "VERIFY_CA"),
            arguments: ours(&joiner, &ca, "verify-ca"),
            code: 77,
            sentence: "the donor reported that the transfer failed, code -32 (last connection \
                       turned away: ADDRESS, TLS handshake failed: it refuses our certificate, \
                       which does not lead to a trusted CA): the donor could not deliver its first \
                       connection: the address or port is wrong or filtered, or TLS was refused",
        },
        Row {
            setup: "we do not trust the donor's CA",
            donor: donor(&node, &ca, "VERIFY_CA"),
            arguments: ours(&joiner, &other, "verify-ca"),
            code: 77,
            sentence: "the donor reported that the transfer failed, code -22 (last connection \
                       turned away: ADDRESS, TLS handshake failed: its certificate does not lead \
                       to a trusted CA): the donor's backup program failed, its data connection \
                       broke, or its TLS or keyring configuration is wrong: see the donor's error \
                       log",
        },
        Row {
            setup: "the donor's certificate has expired, or does not fit its own CA",
            donor: donor(&old, &ca, "VERIFY_CA"),
            arguments: ours(&joiner, &ca, "verify-ca"),
            code: 101,
            sentence: "the donor reported that the transfer failed, code -22: the donor's backup \
                       program failed, its data connection broke, or its TLS or keyring \
                       configuration is wrong: see the donor's error log",
        },
        Row {
            setup: "the donor demands a name that our certificate does not have",
            donor: donor(&node, &ca, "VERIFY_IDENTITY"),
            arguments: ours(&joiner, &ca, "verify-ca"),
            code: 77,
            sentence: "the donor reported that the transfer failed, code -32 (last connection \
                       turned away: ADDRESS, closed by the peer after the TLS handshake): the donor \
                       could not deliver its first connection: the address or port is wrong or \
                       filtered, or TLS was refused",
        },
        Row {
            setup: "the donor cannot reach --advertise",
            donor: vec![],
            arguments: vec![("--advertise", Ports::reserve().address(1))],
            code: 69,
            sentence: "the donor could not connect to the advertised address (code -32): nothing of \
                       it has arrived here",
        },
    ] {
        row.check(&mut cluster);
    }
    cluster.assert_unharmed();
}
