//! One backup into every kind of sink at once, and a server on what each gives back. And what a
//! killed job leaves behind it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{
    object_stores,
    support::{
        cluster::Cluster,
        content,
        fault::Fault,
        job::Job,
        ledger,
        server::{Server, Start},
        wait::seconds,
    },
};

/// Sinks that keep what they are given, in a directory of the test's.
struct Sinks {
    directory: PathBuf,
    environment: String,
}

const RESTIC: &str = "restic --no-cache backup --quiet --stdin --stdin-filename backup.xb --host h";

impl Sinks {
    fn create(cluster: &Cluster) -> Self {
        let directory = cluster.path("sinks");
        std::fs::create_dir_all(&directory).expect("made");
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let s3 = object_stores::s3("every-sink").options.endpoint.expect("an endpoint");
        let azure = runtime.block_on(object_stores::azure("every-sink"));
        let azure = azure.options.endpoint.expect("an endpoint");
        let variables = [
            ("AWS_ACCESS_KEY_ID", object_stores::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", object_stores::SECRET_KEY),
            ("AWS_ENDPOINT_URL", &s3),
            ("AZURE_STORAGE_ACCOUNT_NAME", object_stores::AZURE_ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", object_stores::AZURE_KEY),
            ("AZURE_STORAGE_ENDPOINT", &azure),
            ("RESTIC_REPOSITORY", &directory.join("restic").display().to_string()),
            ("RESTIC_PASSWORD", "secret"),
        ];
        let exports = variables.map(|(name, value)| format!("export {name}='{value}'; "));
        let sinks = Self { directory, environment: exports.concat() };
        sinks.shell("restic --no-cache init");
        sinks
    }

    fn at(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Runs a command with the sinks' environment; gives what it answers.
    fn shell(&self, command: &str) -> String {
        let script = format!("{}{command}", self.environment);
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn within(&self, job: Job) -> Job {
        job.within(&format!("{}exec \"$@\"", self.environment))
    }

    fn restore(&self, from: &str, to: &Path) {
        let job = Job::restore(from, to).switch("--prepare").switch("--bootstrap");
        self.within(job).run(seconds(180)).expect(&[0]);
    }
}

#[test]
#[ignore = "starts real servers and object stores"]
fn one_backup_into_every_sink_at_once_is_restored_from_each() {
    let mut cluster = Cluster::start(1);
    content::generate(cluster.node(0), 16);
    cluster.add_node();
    cluster.wait_healthy(2);
    ledger::create(cluster.node(0));
    cluster.wait_level();
    let sinks = Sinks::create(&cluster);
    let repository = format!("file://{}", sinks.at("repository"));
    let mut job = Job::backup(&cluster, &repository).flag("--donor", "n2");
    for to in [
        "s3://every-sink/pxc".to_owned(),
        "az://every-sink/pxc".to_owned(),
        format!("tar:{}", sinks.at("backup.tar")),
        format!("xbstream:{}", sinks.at("backup.xb")),
        format!("datadir:{}", sinks.at("datadir")),
        format!("exec:{RESTIC}"),
    ] {
        job = job.switch(&format!("--to={to}"));
    }
    let outcome = sinks.within(job).run(seconds(300)).expect(&[0]);
    let copies = outcome.json()["copies"].as_array().map_or(0, Vec::len);
    assert_eq!(copies, 7, "{}", outcome.stdout);

    sinks.shell(&format!("restic --no-cache dump latest backup.xb >{}", sinks.at("restic.xb")));
    let expected = content::checksums(cluster.node(0));
    for (name, from) in [
        ("file", repository),
        ("s3", "s3://every-sink/pxc".to_owned()),
        ("azure", "az://every-sink/pxc".to_owned()),
        ("tar", format!("tar:{}", sinks.at("backup.tar"))),
        ("xbstream", format!("xbstream:{}", sinks.at("backup.xb"))),
        ("restic", format!("xbstream:{}", sinks.at("restic.xb"))),
    ] {
        let directory = cluster.path(&format!("restored-{name}"));
        sinks.restore(&from, &directory);
        check_server(&cluster, name, &directory, &expected);
    }
    let directory = PathBuf::from(sinks.at("datadir"));
    let job = Job::new("restore").flag("--from", &format!("datadir:{}", directory.display()));
    job.switch("--prepare").switch("--bootstrap").run(seconds(180)).expect(&[0]);
    check_server(&cluster, "datadir", &directory, &expected);
    cluster.assert_unharmed();
}

fn check_server(
    cluster: &Cluster,
    name: &str,
    directory: &Path,
    expected: &std::collections::BTreeMap<String, String>,
) {
    let mut server = cluster.adopt(&format!("on-{name}"), directory);
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(&content::checksums(&server), expected, "{name}");
}

#[test]
#[ignore = "starts real servers and object stores"]
fn a_job_killed_in_the_middle_leaves_no_snapshot_and_after_prune_nothing_at_all() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let sinks = Sinks::create(&cluster);
    for phase in ["joining", "joined", "requesting", "waiting", "receiving", "verifying"] {
        match phase {
            "receiving" => cluster.node(1).set_fault(Fault::Stalls),
            "verifying" => cluster.node(1).set_fault(Fault::Lingers),
            _ => {}
        }
        let job = Job::backup(&cluster, "s3://every-sink/killed").flag("--donor", "n2");
        let job = job.switch(&format!("--to=exec:{RESTIC}"));
        let mut backup = sinks.within(job).start();
        backup.wait_phase(phase, seconds(90));
        backup.kill();
        cluster.node(1).set_fault(Fault::None);
        cluster.wait_healthy(2);
        let snapshots = sinks.shell("restic --no-cache snapshots --json --no-lock");
        assert!(matches!(snapshots.trim(), "[]" | "null"), "{phase}: {snapshots}");
        let list = |command: &str| sinks.within(Job::new(command).flag("--output", "json"));
        let from = |job: Job| job.flag("--from", "s3://every-sink/killed");
        let listed = from(list("list")).run(seconds(60)).expect(&[0]);
        assert_eq!(listed.json(), serde_json::json!([]), "{phase}");
        let prune = from(list("prune")).flag("--incomplete-after", "0");
        prune.run(seconds(60)).expect(&[0]);
        let left = object_stores::rclone(
            object_stores::seaweed(),
            &["lsf", "-R", "--files-only", "s3:every-sink/killed"],
        );
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{phase}");
    }
    cluster.assert_unharmed();
}
