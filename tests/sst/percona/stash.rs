//! What goes wrong in the pipeline of Stash's addon (garbd, socat into restic), tried on ours.
//!
//! Named like those of [`super::operator`]. Where a group is needed, the test is in `tests/cluster`.

use super::*;

#[test]
fn g01_a_donor_that_is_faster_than_the_request_waits_in_the_queue() {
    // The listener is bound before anybody is asked: see `f01`; here the second connection comes at once.
    let scene = Scene::new("9.6");
    assert_eq!(scene.run().expect(0, &[]).donor, Some(0));
}

#[test]
fn g02_nobody_is_waited_for_without_end() {
    let scene = Scene::new("8.0.29").receive(&["--first-connection-timeout", "1"]);
    let scene = scene.donor("generation", "8.0.29").donor("encrypt", 1);
    scene.run().expect(75, &["did not send its metadata within 1 s"]);
}

#[test]
fn g04_a_stray_connection_does_not_shift_the_count() {
    let probe = "for i in 1 2 3; do exec 3<>/dev/tcp/{host}/{port}; exec 3>&-; done";
    let scene = Scene::new("5.7").donor("before", probe).donor("between", probe);
    let ended = scene.run().expect(0, &[]);
    assert!(ended.manifest()["totals"]["stream_bytes"].as_u64() > Some(100_000));
}

#[test]
fn g05_the_first_connection_is_kept_with_the_backup() {
    let scene = Scene::new("8.4");
    scene.run().expect(0, &[]);
    let shown = galera_sst("cat").args(["--from", &scene.repository(), "sst_info"]).output();
    let text = shown.expect("runs").stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains(&format!("galera-gtid={GTID}")), "{text}");
}

#[test]
fn g06_truncation_is_a_failure_in_every_sink() {
    for kind in ["xbstream", "tar", "datadir"] {
        let scene = Scene::new("8.0.29").donor("spoil", "head -c 200000");
        let place = scene.path("target");
        let target = format!("{kind}:{}", place.display());
        let scene = scene.receive(&["--to", &target]);
        scene.run().expect(65, &[]);
        assert!(!place.exists(), "{kind}");
    }
}

#[test]
fn g07_a_command_sees_no_end_of_input_when_the_backup_failed() {
    let scene = Scene::new("8.0.29").donor("spoil", "head -c 200000");
    let snapshot = scene.path("snapshot");
    let command = format!("exec:cat >/dev/null && touch {}", snapshot.display());
    let scene = scene.receive(&["--to", &command]);
    scene.run().expect(65, &[]);
    assert!(!snapshot.exists(), "the command took a failure for the end");
}

#[test]
fn g08_standard_output_is_the_backup_and_nothing_else() {
    let scene = Scene::new("8.0.29").receive(&["--to", "xbstream:-"]);
    let ended = scene.run();
    let (start, code) = (ended.stdout[..8].to_vec(), ended.code);
    assert_eq!((start.as_slice(), code), (&b"XBSTCK01"[..], Some(0)));
    let place = scene.path("extracted");
    std::fs::create_dir(&place).expect("makes a directory");
    std::fs::write(scene.path("stream"), &ended.stdout).expect("writes");
    let stream = std::fs::File::open(scene.path("stream")).expect("opens");
    let mut extract = galera_sst("xbstream");
    extract.args(["extract", "--directory"]).arg(&place).stdin(stream);
    assert!(extract.status().expect("runs").success());
}

#[test]
fn g10_tls_is_taken_and_given() {
    let scene = Scene::new("8.0.29").encrypted(4);
    let manifest = scene.run().expect(0, &[]).manifest();
    assert_eq!(manifest["witnesses"]["transport"]["seen"]["end"], "close-notify");
}

#[test]
fn g11_a_failure_is_in_the_exit_code_unless_stash_wants_it_otherwise() {
    let scene = Scene::new("8.0.29").donor("spoil", "head -c 200000");
    let output = scene.path("output");
    std::fs::create_dir(&output).expect("makes a directory");
    let directory = output.display().to_string();
    let scene = scene.receive(&["--stash-output", &directory, "--stash-ref", "demo/px"]);
    scene.run().expect(65, &[]);
    let report = std::fs::read_to_string(output.join("output.json")).expect("is written");
    assert!(report.contains("\"Failed\"") && !report.contains("snapshots"), "{report}");
    scene.receive(&["--stash-exit-zero"]).run().expect(0, &[]);
}

#[test]
fn g12_a_tool_that_fails_fails_the_restore() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    // The stand-in refuses the arguments of another generation.
    let restored = scene.restore("8.0.35-30", &["--prepare-argument", "--transition-key=x"]);
    assert!(restored.status.success());
    std::fs::remove_dir_all(scene.path("data")).expect("removes");
    let restored = scene.restore("2.4.29", &["--any-tool-version"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    std::fs::remove_dir_all(scene.path("data")).expect("removes");
    let restored = scene.restore("8.0.35-30", &["--prepare-tool", "/bin/false"]);
    assert!(!restored.status.success() && !scene.path("data").exists());
}

#[test]
fn g13_a_directory_that_is_not_empty_is_not_overlaid() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    std::fs::create_dir(scene.path("data")).expect("makes a directory");
    std::fs::write(scene.path("data/old.ibd"), "old").expect("writes");
    assert_eq!(scene.restore("8.0.35-30", &[]).status.code(), Some(73));
    assert!(scene.restore("8.0.35-30", &["--force"]).status.success());
    assert!(!scene.path("data/old.ibd").exists());
}
