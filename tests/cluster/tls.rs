//! Groups and donors that use TLS, in every way that MariaDB can.

use std::path::Path;

use rustix::process::Signal;

use crate::support::{
    cluster::Cluster,
    howto::{HowTo, Pair},
    job::{Job, Outcome},
    ports::Ports,
    server::Server,
    wait::{seconds, until_true},
};

/// Provider options of a server whose group traffic runs inside TLS.
pub(crate) fn group_options(pair: &Pair, ca: &Path) -> String {
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

#[test]
#[ignore = "starts real servers"]
fn a_certificate_that_is_replaced_counts_from_the_next_link_on() {
    let howto = HowTo::new();
    let old_ca = howto.ca();
    let new_ca = howto.authority("new");
    let both = howto.concatenate(&[&old_ca, &new_ca], "both.pem");
    howto.request("renewed", 2048);
    howto.sign("renewed", "", "new");
    let (first, renewed) = (howto.version_1("first"), howto.pair("renewed"));
    let mut cluster = Cluster::start_set_up(2, |server| {
        server.set_provider(&group_options(&renewed, &both));
    });
    let live = Pair { certificate: howto.path("live.pem"), key: howto.path("live-key.pem") };
    let install = |pair: &Pair| {
        std::fs::copy(&pair.certificate, &live.certificate).expect("copy");
        std::fs::copy(&pair.key, &live.key).expect("copy");
    };
    install(&first);
    let ports = Ports::reserve();
    let ours = ports.address(2);
    let job = Job::new("status")
        .flag("--address", &format!("gcomm://{}", cluster.peers()))
        .flag("--group", cluster.group())
        .flag("--options", &format!("gmcast.listen_addr=tcp://{ours}"))
        .switch("--watch")
        .holding(ports);
    let mut watcher = with_keys(job, &live, &both).start();
    cluster.wait_healthy(3);

    install(&renewed);
    watcher.signal(Signal::HUP);
    until_true("the keys to be read again", seconds(10), || {
        watcher.talk().contains("live.pem: read again")
    });
    // From now on this server trusts the new CA alone, and with it no link with the old certificate.
    cluster.nodes[1].stop();
    let so_far = cluster.nodes[1].log().len();
    cluster.nodes[1].set_provider(&format!("socket.ssl_ca={}", new_ca.display()));
    cluster.restart(1);
    let strict = cluster.node(1).group_address();
    let link = format!("ssl://{ours}");
    until_true("a link with the new certificate", seconds(30), || {
        let log = cluster.node(1).log();
        let mut lines = log[so_far..].lines();
        lines.any(|line| line.contains("connection established") && line.contains(&link))
    });
    let doctor = looking(&cluster, "doctor").flag("--address", &format!("gcomm://{strict}"));
    let outcome = with_keys(doctor, &first, &both).switch("--no-join").run(seconds(60));
    let report = outcome.expect(&[77]).stdout;
    assert!(
        report.contains("refuses our certificate, which does not lead to a trusted CA"),
        "{report}"
    );
    watcher.signal(Signal::INT);
    watcher.finish(seconds(30)).expect(&[0]);
    cluster.wait_healthy(2);
}

#[test]
#[ignore = "starts real servers"]
fn names_and_listeners_of_both_families_reach_a_group_of_one() {
    let mut cluster = Cluster::start(2);
    let peers = cluster.peers().replace("127.0.0.1", "localhost");
    let ports = Ports::reserve();
    Job::backup(&cluster, "null:")
        .flag("--address", &format!("gcomm://{peers}"))
        .flag("--listen", &format!("0.0.0.0:{}", ports.at(1)))
        .flag("--options", &format!("gmcast.listen_addr=tcp://[::]:{}", ports.at(2)))
        .holding(ports)
        .run(seconds(120))
        .expect(&[0]);
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

#[test]
#[ignore = "starts real servers"]
fn a_donor_with_a_key_is_received_with_that_key_only() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let key = cluster.path("key");
    std::fs::write(&key, "correct horse\n").expect("write");
    cluster.nodes[1].set_transfer(&[
        "encrypt=1".to_owned(),
        "encrypt-algo=aes-256-cbc".to_owned(),
        format!("encrypt-key-file={}", key.display()),
    ]);
    let job = || Job::backup(&cluster, "null:").flag("--donor", "n2");
    let file = key.display().to_string();
    job().flag("--sst-encrypt-key-file", &file).run(seconds(120)).expect(&[0]);
    let wrong = cluster.path("wrong");
    std::fs::write(&wrong, "wrong horse\n").expect("write");
    let wrong = wrong.display().to_string();
    let outcome = job().flag("--sst-encrypt-key-file", &wrong).run(seconds(120));
    outcome.expect(&[77]).expect_sentence(&["cannot be decrypted"]);
    cluster.wait_healthy(2);
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

#[test]
#[ignore = "starts real servers"]
fn a_tls_group_is_looked_at_and_refuses_whoever_does_not_fit() {
    let howto = HowTo::new();
    let node = howto.version_1("node");
    let ca = howto.ca();
    howto.authority("other");
    howto.request("foreign", 2048);
    howto.sign("foreign", "", "other");
    let foreign = howto.pair("foreign");
    let mut cluster = Cluster::start_set_up(2, |server| {
        server.set_provider(&group_options(&node, &ca));
    });
    let views = |cluster: &Cluster| -> u64 {
        cluster.node(0).status("wsrep_cluster_conf_id").parse().expect("a number")
    };
    let before = views(&cluster);
    let doctor = || with_keys(looking(&cluster, "doctor"), &node, &ca).flag("--to", "null:");
    doctor().switch("--no-join").run(seconds(60)).expect(&[0]);
    assert_eq!(views(&cluster), before, "a look from outside changes nothing");
    let outcome = doctor().run(seconds(60)).expect(&[0]);
    // One join and one leave.
    let after = (before + 2).to_string();
    cluster.node(0).wait_status("wsrep_cluster_conf_id", &after, seconds(10));
    let report = outcome.json();
    assert_eq!(report["level"], "ok", "{report}");
    let lines = report["lines"].as_array().expect("lines");
    let says = |step: &str, words: &str| {
        let is_it = |line: &&serde_json::Value| {
            line["step"] == step && line["text"].as_str().is_some_and(|text| text.contains(words))
        };
        assert!(lines.iter().any(|line| is_it(&line)), "{step} {words}: {report}");
    };
    says("tls", "TLSv1.3");
    says("certificate", "X.509 version 1, CN=node");
    says("member", "n2");
    says("donor", "would be the donor");
    says("advertise", "leads to our listener");

    let options = group_options(&node, &ca);
    let status = looking(&cluster, "status").option(&options).run(seconds(60)).expect(&[0]);
    assert_eq!(status.json()["members"].as_array().map(Vec::len), Some(3), "{}", status.stdout);

    for (job, sentence) in [
        (looking(&cluster, "doctor"), "uses TLS, and we were told to use none"),
        (with_keys(looking(&cluster, "doctor"), &foreign, &ca), "refuses our certificate"),
        (with_keys(looking(&cluster, "doctor"), &node, &howto.path("other.pem")), "we refuse its"),
        (looking(&cluster, "status").flag("--connect-timeout", "4"), "uses TLS"),
    ] {
        let outcome = job.run(seconds(60)).expect(&[77]);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(said.contains(sentence), "expected {sentence}: {said}");
    }
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn an_arbitrator_votes_in_a_tls_group_and_reads_its_keys_again_when_told() {
    let howto = HowTo::new();
    let (node, ca) = (howto.version_1("node"), howto.ca());
    let mut cluster = Cluster::start_set_up(2, |server| {
        server.set_provider(&group_options(&node, &ca));
    });
    let job = with_keys(Job::member("arbitrator", &cluster), &howto.version_1("arbitrator"), &ca);
    let mut arbitrator = job.start();
    cluster.wait_healthy(3);
    assert_eq!(cluster.node(0).status("wsrep_cluster_weight"), "3");
    arbitrator.signal(Signal::HUP);
    // The last server has a majority only with the arbitrator's vote.
    cluster.nodes[1].kill();
    cluster.wait_healthy(2);
    cluster.restart(1);
    cluster.wait_healthy(3);
    arbitrator.signal(Signal::TERM);
    let outcome = arbitrator.finish(seconds(40)).expect(&[0]);
    assert!(outcome.stderr.contains("read again"), "{}", outcome.stderr);
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

/// A command that becomes a member for a moment.
fn looking(cluster: &Cluster, command: &str) -> Job {
    let ports = Ports::reserve();
    let job = Job::new(command)
        .flag("--address", &format!("gcomm://{}", cluster.peers()))
        .flag("--group", cluster.group())
        .flag("--options", &format!("gmcast.listen_addr=tcp://{}", ports.address(2)))
        .flag("--output", "json");
    let job = if command == "doctor" { job.flag("--listen", &ports.address(1)) } else { job };
    job.holding(ports)
}

#[test]
#[ignore = "starts real servers"]
fn a_group_that_knows_ipv6_only_is_backed_up_with_tls() {
    let howto = HowTo::new();
    let node = howto.version_1("node");
    let ca = howto.ca();
    let mut cluster = Cluster::start_set_up(2, |server| {
        server.use_ipv6();
        server.set_provider(&group_options(&node, &ca));
        let mut transfer = transfer_files(&node, &ca, MODERN);
        transfer.push("encrypt=4".to_owned());
        server.set_transfer(&transfer);
    });
    let ports = Ports::reserve();
    let ours = |offset| format!("[::1]:{}", ports.at(offset));
    let job = Job::backup(&cluster, "null:")
        .flag("--listen", &ours(1))
        .flag("--options", &format!("gmcast.listen_addr=tcp://{}", ours(2)));
    with_keys(job, &node, &ca).run(seconds(120)).expect(&[0]);
    cluster.assert_unharmed();
}
