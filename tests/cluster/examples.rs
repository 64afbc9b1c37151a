//! The scripts of `examples/`, each in the place that it is for, against a real group whose members donate
//! as Percona's servers do.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{
    support::{
        cluster::Cluster,
        job::Job,
        ledger,
        ports::Ports,
        server::{Server, Start},
        wait::seconds,
    },
    verdict::files_below,
};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    path.display().to_string()
}

fn stand_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/donor/xtrabackup")
}

/// A group of two, with data, that donates as PXC 5.7 does: it dials again when nobody listens yet.
fn group() -> Cluster {
    let cluster = Cluster::start(2);
    for node in &cluster.nodes {
        node.play_percona(&json!({ "generation": "5.7", "payload": "server", "pause": 1 }));
    }
    ledger::create(cluster.node(0));
    cluster
}

/// A script of the examples, which finds the binary in its `PATH`.
fn script(name: &str) -> Job {
    let script = format!("PATH=$(dirname \"$1\"):$PATH; shift 2; exec {} \"$@\"", example(name));
    Job::new("script").within(&script)
}

/// As [`script`], as a member of the group on ports of its own.
fn member_script(name: &str, cluster: &Cluster) -> Job {
    let ports = Ports::reserve();
    let options = format!("gmcast.listen_addr=tcp://{}", ports.address(2));
    script(name)
        .environment("GALERA_SST_ADDRESS", &format!("gcomm://{}", cluster.peers()))
        .environment("GALERA_SST_OPTIONS", &options)
        .flag("--listen", &ports.address(1))
        .holding(ports)
}

/// A restore script, for one of several volumes.
fn restore_script(name: &str, directory: &Path, ordinal: u32) -> Job {
    script(name)
        .environment("DATADIR", &directory.display().to_string())
        .environment("ORDINAL", &ordinal.to_string())
        .environment("XTRABACKUP_VERSION", "2.4.29")
        .environment("XTRABACKUP_REAL", "yes")
        .flag("--prepare-tool", &stand_in().display().to_string())
        .flag("--server-binary", "/usr/sbin/mariadbd")
}

/// Starts what was restored: the first alone, the second by joining it without a state transfer.
fn check_restored(cluster: &Cluster, directories: &[PathBuf; 2]) {
    let mut first = cluster.adopt("restored-0", &directories[0]);
    first.start(&Start::Bootstrap);
    first.wait_synced();
    let entries = ledger::verify(&first);
    assert_eq!(ledger::digest(&first, entries), ledger::digest(cluster.node(0), entries));
    let mut second = cluster.adopt("restored-1", &directories[1]);
    second.start(&Start::Join(first.group_address()));
    second.wait_synced();
    assert!(second.log().contains("IST received"), "it took a full state transfer");
    second.stop();
    first.stop();
}

#[test]
#[ignore = "starts real servers"]
fn the_operators_jobs_back_up_and_restore_one_volume_each() {
    let mut cluster = group();
    let volume = cluster.path("volume").display().to_string();
    member_script("percona-operator/backup.sh", &cluster)
        .environment("PXC_SERVICE", cluster.group())
        .environment("BACKUP_DIR", &volume)
        .run(seconds(120))
        .expect(&[0]);
    let directories = [0, 1].map(|ordinal| {
        let directory = cluster.path(&format!("data-{ordinal}"));
        restore_script("percona-operator/restore.sh", &directory, ordinal)
            .environment("PXC_SERVICE", cluster.group())
            .environment("BACKUP_DIR", &volume)
            .run(seconds(300))
            .expect(&[0]);
        directory
    });
    check_restored(&cluster, &directories);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn the_operators_receive_script_works_behind_garbd() {
    let mut cluster = group();
    let (volume, ports) = (cluster.path("volume"), Ports::reserve());
    let wrapper = cluster.path("receive");
    let text = format!(
        "#!/bin/sh\nexport PATH={bin}:$PATH PXC_SERVICE={group} BACKUP_DIR={volume} SETTLE_SECONDS=2\n\
         exec {script} --listen {listen}\n",
        bin = Path::new(env!("CARGO_BIN_EXE_galera-sst")).parent().expect("a directory").display(),
        group = cluster.group(),
        volume = volume.display(),
        script = example("percona-operator/run_backup.sh"),
        listen = ports.address(1),
    );
    fs::write(&wrapper, text).expect("write a script");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("make it executable");
    let request = format!("xtrabackup-v2:{}/xtrabackup_sst//1", ports.address(1));
    let receiver = format!("--recv-script={}", wrapper.display());
    let arguments = [
        "--sst",
        &request,
        "--donor",
        "n2",
        "--extended-exit-codes",
        "--wait-for-recv-script-exit",
        &receiver,
    ];
    let mut garbd = cluster.our_garbd_with("operator", &arguments);
    assert_eq!(garbd.finish(seconds(120)), Some(0), "{}", garbd.log());
    let stored = files_below(&volume);
    assert!(stored.iter().any(|file| file.ends_with("manifest.json")), "{}", garbd.log());
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn stashs_jobs_back_up_into_restic_and_restore_one_volume_each() {
    let mut cluster = group();
    let (restic, output) = (cluster.path("restic").display().to_string(), cluster.path("output"));
    let made = Command::new("restic")
        .args(["init", "--quiet", "--repo", &restic])
        .env("RESTIC_PASSWORD", "secret")
        .status();
    assert!(made.expect("run restic").success());
    let binding = cluster.path("appbinding.json");
    let parameters = json!({
        "address": format!("gcomm://{}", cluster.peers()),
        "group": cluster.group(),
        "sstMethod": "xtrabackup-v2",
    });
    let text = json!({
        "metadata": { "name": "px", "namespace": "demo" }, "spec": { "parameters": parameters },
    });
    fs::write(&binding, text.to_string()).expect("write an AppBinding");
    member_script("stash/backup.sh", &cluster)
        .environment("STASH_APPBINDING", &binding.display().to_string())
        .environment("STASH_OUTPUT_DIR", &output.display().to_string())
        .environment("RESTIC_REPOSITORY", &restic)
        .environment("RESTIC_PASSWORD", "secret")
        .run(seconds(180))
        .expect(&[0]);
    let report = fs::read_to_string(output.join("output.json")).expect("read the report");
    assert!(report.contains("\"Succeeded\"") && report.contains("xtrabackup.stream"), "{report}");
    let directories = [0, 1].map(|ordinal| {
        let directory = cluster.path(&format!("data-{ordinal}"));
        restore_script("stash/restore.sh", &directory, ordinal)
            .environment("RESTIC_REPOSITORY", &restic)
            .environment("RESTIC_PASSWORD", "secret")
            .run(seconds(300))
            .expect(&[0]);
        directory
    });
    check_restored(&cluster, &directories);
    cluster.assert_unharmed();
}
