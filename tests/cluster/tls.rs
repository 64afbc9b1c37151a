//! Groups and donors that use TLS, in every way that MariaDB can.

use std::path::Path;

use crate::{
    support::{
        cluster::Cluster,
        content,
        howto::{HowTo, Pair},
        job::{Job, Outcome},
        ledger,
        server::{Server, Start},
        wait::seconds,
    },
    verdict::Repository,
};

/// Provider options of a server whose group traffic runs inside TLS.
fn group_options(pair: &Pair, ca: &Path) -> String {
    format!(
        "socket.ssl=yes;socket.ssl_cert={};socket.ssl_key={};socket.ssl_ca={}",
        pair.certificate.display(),
        pair.key.display(),
        ca.display()
    )
}

/// Lines of `[sst]` that name a server's certificate as `ssl-…` or `t…`.
pub(crate) fn transfer_files(pair: &Pair, ca: &Path, names: [&str; 3]) -> Vec<String> {
    let files = [ca, &pair.certificate, &pair.key];
    names.iter().zip(files).map(|(name, file)| format!("{name}={}", file.display())).collect()
}

pub(crate) const MODERN: [&str; 3] = ["ssl-ca", "ssl-cert", "ssl-key"];
const HISTORIC: [&str; 3] = ["tca", "tcert", "tkey"];

/// Adds our certificate to a job.
fn with_keys(job: Job, pair: &Pair, ca: &Path) -> Job {
    job.flag("--ssl-cert", &pair.certificate.display().to_string())
        .flag("--ssl-key", &pair.key.display().to_string())
        .flag("--ssl-ca", &ca.display().to_string())
}

#[test]
#[ignore = "starts real servers"]
fn a_group_with_version_1_certificates_is_backed_up_and_restored() {
    let howto = HowTo::new();
    let node = howto.version_1("node");
    let ours = howto.version_1("backup");
    let ca = howto.ca();
    let mut cluster = Cluster::start_set_up(3, |server| {
        server.set_provider(&group_options(&node, &ca));
        let mut transfer = transfer_files(&node, &ca, MODERN);
        transfer.push("ssl-mode=VERIFY_CA".to_owned());
        server.set_transfer(&transfer);
    });
    ledger::create(cluster.node(0));
    cluster.wait_level();
    let repository = Repository::create(&cluster, "repository");
    let job = Job::backup(&cluster, &repository.url).flag("--donor", "n2");
    let outcome = with_keys(job, &ours, &ca).run(seconds(120)).expect(&[0]);
    assert_eq!(outcome.json()["manifest"]["witnesses"]["transport"]["seen"]["tls"], "TLSv1.3");

    let directory = cluster.path("restored");
    Job::restore(&repository.url, &directory)
        .switch("--prepare")
        .switch("--bootstrap")
        .run(seconds(120))
        .expect(&[0]);
    let mut server = cluster.adopt("restored-node", &directory);
    server.set_provider(&group_options(&node, &ca));
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(ledger::verify(&server), 0);
    assert_eq!(content::checksums(&server), content::checksums(cluster.node(0)));
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_dynamic_group_is_joined_with_and_without_tls() {
    let howto = HowTo::new();
    let node = howto.version_1("node");
    let ca = howto.ca();
    let mut cluster = Cluster::start_set_up(2, |server| {
        server.set_provider(&group_options(&node, &ca).replace("socket.ssl=yes;", ""));
        server.set_provider("socket.dynamic=yes");
    });
    let plain = Job::backup(&cluster, "null:").run(seconds(120));
    plain.expect(&[0]);
    let tls = with_keys(Job::backup(&cluster, "null:"), &node, &ca).flag("--sst-tls", "off");
    tls.run(seconds(120)).expect(&[0]);
    let dynamic = Job::backup(&cluster, "null:").flag("--sst-tls", "off");
    let dynamic = with_keys(dynamic, &node, &ca).option("socket.dynamic=yes");
    dynamic.run(seconds(120)).expect(&[0]);
    cluster.assert_unharmed();
}

/// One way in which a donor encrypts, and the `--sst-tls` that fits it.
struct Mode {
    donor: Vec<String>,
    ours: &'static str,
}

#[test]
#[ignore = "starts real servers"]
fn donors_of_every_tls_mode_are_received() {
    let howto = HowTo::new();
    let node = howto.version_1("donor.lab");
    let ours = howto.version_1("joiner.lab");
    let ca = howto.ca();
    let both = howto.concatenate(&[&node.certificate, &node.key], "donor.pair.pem");
    let files = |names, more: &str| {
        let mut lines = transfer_files(&node, &ca, names);
        lines.push(more.to_owned());
        lines
    };
    let modes = [
        Mode { donor: vec![], ours: "off" },
        Mode {
            donor: vec![
                "encrypt=2".into(),
                format!("tcert={}", both.display()),
                format!("tca={}", ca.display()),
            ],
            ours: "verify-ca",
        },
        Mode {
            donor: vec![
                "encrypt=3".into(),
                format!("tcert={}", node.certificate.display()),
                format!("tkey={}", node.key.display()),
            ],
            ours: "required",
        },
        Mode { donor: files(MODERN, "encrypt=4"), ours: "auto" },
        Mode { donor: files(MODERN, "ssl-mode=REQUIRED"), ours: "required" },
        Mode { donor: files(MODERN, "ssl-mode=VERIFY_CA"), ours: "verify-ca" },
        Mode { donor: files(HISTORIC, "encrypt=3"), ours: "verify-identity" },
        Mode { donor: files(MODERN, "ssl-mode=VERIFY_IDENTITY"), ours: "verify-identity" },
    ];
    let mut cluster = Cluster::start(2);
    for mode in modes {
        let told = mode.donor.join(", ");
        cluster.nodes[1].set_transfer(&mode.donor);
        let outcome = receive(&cluster, &ours, &ca, mode.ours);
        assert_eq!(outcome.code, Some(0), "{told}: {}", outcome.stderr);
        let tls = &outcome.json()["manifest"]["witnesses"]["transport"]["seen"]["tls"];
        assert_eq!(tls.is_string(), mode.ours != "off", "{told}: {tls}");
    }
    cluster.assert_unharmed();
}

/// A plain member that receives a transfer in this mode.
fn receive(cluster: &Cluster, pair: &Pair, ca: &Path, mode: &str) -> Outcome {
    Job::backup(cluster, "null:")
        .flag("--donor", "n2")
        .flag("--sst-tls", mode)
        .flag("--sst-ssl-cert", &pair.certificate.display().to_string())
        .flag("--sst-ssl-key", &pair.key.display().to_string())
        .flag("--sst-ssl-ca", &ca.display().to_string())
        .run(seconds(120))
}
