//! What goes wrong in the pipeline of Percona's operator (garbd, socat, xbcloud in shell), tried on ours.
//!
//! Each test is named after a failure there. It ends in a correct backup or in a clear failure, and never
//! in something that looks like a backup and is none. Those that need a group are in `tests/cluster`.

use super::*;

/// Something other than the donor dials and hangs up at once.
const PROBE: &str = "exec 3<>/dev/tcp/{host}/{port}; exec 3>&-";

/// No backup is listed, and nothing of one is left that restore would take.
fn expect_nothing(scene: &Scene) {
    let listed = galera_sst("list").args(["--from", &scene.repository()]).output().expect("runs");
    assert_eq!(listed.stdout, b"", "{}", String::from_utf8_lossy(&listed.stdout));
    assert!(!scene.restore("8.0.35-30", &[]).status.success());
    assert!(!scene.path("data").exists());
}

fn expect_restorable(scene: &Scene) {
    let restored = scene.restore("8.0.35-30", &[]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

#[test]
fn f01_a_donor_without_retry_finds_the_listener_open() {
    // The donor starts as soon as the address is known; 8.0.29 tries to connect once.
    let scene = Scene::new("8.0.29");
    assert_eq!(scene.run().expect(0, &[]).donor, Some(0));
}

#[test]
fn f02_nothing_closes_between_the_two_connections_however_slow_the_target_is() {
    let target = scene_target("sleep 3; cat >/dev/null");
    let scene = Scene::new("8.0.29").receive(&["--to", &target]);
    assert_eq!(scene.run().expect(0, &[]).donor, Some(0));
}

fn scene_target(command: &str) -> String {
    format!("exec:{command}")
}

#[test]
fn f03_a_probe_before_or_between_the_connections_is_not_the_donor() {
    for place in ["before", "between"] {
        let scene = Scene::new("8.0.29").donor(place, PROBE);
        scene.run().expect(0, &[]);
        expect_restorable(&scene);
    }
}

#[test]
fn f03_a_stranger_that_talks_is_not_the_donor() {
    let stranger = "echo 'GET / HTTP/1.1' >/dev/tcp/{host}/{port}";
    for place in ["before", "between"] {
        let scene = Scene::new("8.0.29").donor(place, stranger);
        scene.run().expect(0, &[]);
        expect_restorable(&scene);
    }
}

#[test]
fn f04_a_stream_that_ends_early_in_an_orderly_way_is_no_backup() {
    for bytes in [1000, 100_000, 300_000] {
        let scene = Scene::new("8.0.29").donor("spoil", format!("head -c {bytes}"));
        scene.run().expect(65, &[]);
        expect_nothing(&scene);
    }
}

#[test]
fn f04_a_cut_inside_tls_is_no_backup() {
    let scene = Scene::new("8.0.29").encrypted(4).donor("spoil", "head -c 200000");
    scene.run().expect(65, &[]);
    expect_nothing(&scene);
}

#[test]
fn f05_a_killed_backup_program_leaves_no_truncated_file_behind() {
    // The rule of the script: a filter that fails in the middle of the pipe is not noticed.
    let scene = Scene::new("8.0.29")
        .donor("spoil", "{{ head -c 250000; exit 9; }}".replace("{{", "{").replace("}}", "}"));
    let file = scene.path("stream");
    let target = format!("xbstream:{}", file.display());
    let scene = scene.receive(&["--to", &target]);
    scene.run().expect(65, &[]);
    assert!(!file.exists());
}

#[test]
fn f06_a_tiny_database_is_a_backup_and_most_of_a_large_one_is_not() {
    let tiny = Scene::new("8.0.29").donor("files", 0);
    tiny.run().expect(0, &[]);
    expect_restorable(&tiny);
    let large = Scene::new("8.0.29").donor("files", 100).donor("spoil", "head -c 4700000");
    large.run().expect(65, &[]);
    expect_nothing(&large);
}

#[test]
fn f07_a_target_that_fails_anywhere_fails_the_backup() {
    let exits = ["head -c 10 >/dev/null; exit 1", "cat >/dev/null; exit 1"];
    for command in exits {
        let scene = Scene::new("8.0.29").receive(&["--to", &scene_target(command)]);
        scene.run().expect(74, &[]);
    }
}

#[test]
fn f08_every_failure_says_why() {
    let scene = Scene::new("8.0.29")
        .donor("compressor", "tr '\\000-\\377' '\\001-\\377\\000'")
        .receive(&["--first-connection-timeout", "2"]);
    scene.run().expect(75, &["did not send its metadata", "unknown content, first bytes"]);
}

#[test]
fn f09_a_command_that_says_nothing_has_not_failed() {
    let scene = Scene::new("8.0.29").receive(&["--to", &scene_target("cat >/dev/null")]);
    scene.run().expect(0, &[]);
}

#[test]
fn f10_a_donor_that_fails_after_its_stream_is_heard_before_the_commit() {
    // Whoever asked tells its script by SIGTERM; a member of our own hears the donor itself.
    let scene = Scene::new("8.0.29").receive(&["--settle", "60"]);
    let mut running = scene.start();
    // The donor's script ends when the receiver has taken everything.
    let donor = running.donor.as_mut().expect("was started");
    assert_eq!(wait(donor), Some(0));
    std::thread::sleep(Duration::from_secs(1));
    running.terminate();
    running.finish().expect(143, &["stopped"]);
    expect_nothing(&scene);
}

#[test]
fn f11_what_the_donor_failed_with_is_told_by_its_number() {
    use galera_protocol::sst::donor_code::DonorCode;

    let texts: Vec<_> = [2, 3, 21, 22, 32, 42, 93, 114, 125]
        .map(|number| DonorCode(-number).to_string())
        .into_iter()
        .collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(!texts[..at].contains(text), "{text}");
        assert!(text.contains("(code -"), "{text}");
    }
}

#[test]
fn f12_a_stop_in_the_middle_leaves_nothing_and_nobody() {
    let slow = "{ head -c 100000; sleep 30; cat; }";
    let scene = Scene::new("8.0.29").donor("spoil", slow);
    let running = scene.start();
    let address = running.address.clone().expect("it listens");
    std::thread::sleep(Duration::from_secs(2));
    let stopped = Instant::now();
    running.terminate();
    let mut receiver = running.receiver;
    assert_eq!(wait(&mut receiver), Some(143));
    assert!(stopped.elapsed() < Duration::from_secs(10));
    assert!(std::net::TcpStream::connect(address).is_err(), "somebody still listens");
    let mut donor = running.donor.expect("was started");
    donor.kill().expect("kills");
    donor.wait().expect("ends");
    expect_nothing(&scene);
}

#[test]
fn f13_a_donor_that_falls_silent_is_given_up() {
    let scene = Scene::new("8.0.29")
        .donor("spoil", "{ head -c 100000; sleep 20; }")
        .receive(&["--idle-timeout", "1"]);
    let running = scene.start();
    let mut receiver = running.receiver;
    assert_eq!(wait(&mut receiver), Some(75), "{:?}", running.talk.join());
    let mut donor = running.donor.expect("was started");
    donor.kill().expect("kills");
    donor.wait().expect("ends");
    expect_nothing(&scene);
}

#[test]
fn f14_what_an_earlier_attempt_left_is_never_mixed_into_a_later_one() {
    let scene = Scene::new("8.0.29").donor("files", 40).donor("spoil", "head -c 1500000");
    scene.run().expect(65, &[]);
    let scene = scene.donor("files", 2).donor("spoil", "");
    scene.run().expect(0, &[]);
    expect_restorable(&scene);
    let restored = files_below(&scene.path("data"));
    assert!(
        restored.contains_key("shop/orders_1.ibd") && !restored.contains_key("shop/orders_2.ibd")
    );
}

#[test]
fn f15_an_address_of_ipv6_alone_is_enough() {
    let mut scene = Scene::new("8.4");
    scene.listen = "[::1]:0";
    scene.run().expect(0, &[]);
}

#[test]
fn f17_half_of_the_certificates_is_an_error_and_never_plain_text() {
    let scene = Scene::new("8.0.29").encrypted(4);
    let place = scene.path("tls");
    std::fs::create_dir(&place).expect("makes a directory");
    std::fs::copy(scene.path("ca.pem"), place.join("ca.crt")).expect("copies");
    std::fs::copy(scene.path("donor.pem"), place.join("tls.crt")).expect("copies");
    let directory = place.display().to_string();
    let refused = galera_sst("receive")
        .args(["--listen", "127.0.0.1:0", "--to", "null:", "--tls-dir", &directory])
        .output()
        .expect("runs");
    assert_eq!(refused.status.code(), Some(77));
}

#[test]
fn f17_a_donor_in_plain_text_is_refused_where_tls_is_configured() {
    let scene = Scene::new("8.0.29").encrypted(4).donor("encrypt", 0);
    let scene = scene.receive(&["--first-connection-timeout", "2"]);
    scene.run().expect(75, &["not encrypted"]);
}

#[test]
fn f18_two_backups_at_one_position_keep_their_own_keys() {
    let mut ids = Vec::new();
    let mut scene = Scene::new("8.4").encrypted(4).donor("keyring", "transition");
    scene = scene.receive(&["--allow-plain-keys"]);
    for key in ["A".repeat(32), "B".repeat(32)] {
        scene = scene.donor("transition_key", key);
        let manifest = scene.run().expect(0, &[]).manifest();
        ids.push(manifest["backup_id"].as_str().expect("an id").to_owned());
    }
    for id in ids {
        let keyring = ["--id", &id, "--move-back-argument", "--component-keyring-config=/k"];
        let restored = scene.restore("8.4.0-2", &keyring);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        std::fs::remove_dir_all(scene.path("data")).expect("removes");
    }
}

/// The one file of the repository that has this in its name.
fn stored(scene: &Scene, part: &str) -> PathBuf {
    let files = files_below(&scene.path("repository"));
    let name = files.keys().find(|name| name.contains(part)).expect("it is stored");
    scene.path("repository").join(name)
}

#[test]
fn f19_a_backup_that_lost_a_part_is_not_restored() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    let pack = stored(&scene, "packs/");
    let bytes = std::fs::read(&pack).expect("reads");
    std::fs::write(&pack, &bytes[..bytes.len() * 2 / 3]).expect("writes");
    assert!(!scene.restore("8.0.35-30", &[]).status.success());
    std::fs::remove_file(&pack).expect("removes");
    assert!(!scene.restore("8.0.35-30", &[]).status.success());
    assert!(!scene.path("data").exists());
}

#[test]
fn f20_a_restore_that_fails_leaves_the_old_data_alone() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    std::fs::remove_file(stored(&scene, "packs/")).expect("removes");
    let data = scene.path("data");
    std::fs::create_dir(&data).expect("makes a directory");
    std::fs::write(data.join("ibdata1"), "precious").expect("writes");
    assert!(!scene.restore("8.0.35-30", &["--force"]).status.success());
    assert_eq!(std::fs::read_to_string(data.join("ibdata1")).expect("reads"), "precious");
}

#[test]
fn f21_a_restore_that_was_interrupted_is_simply_run_again() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    let partial = scene.path("data.partial");
    std::fs::create_dir_all(partial.join("shop")).expect("makes a directory");
    std::fs::write(partial.join("shop/left.ibd"), "left by a killed restore").expect("writes");
    expect_restorable(&scene);
    assert!(!scene.path("data/shop/left.ibd").exists());
}

#[test]
fn f22_further_arguments_reach_the_backup_tool() {
    // The stand-in refuses to prepare 5.7 without --binlog-info=ON, and anything without --prepare.
    let scene = Scene::new("5.7");
    scene.run().expect(0, &[]);
    let restored = scene.restore("2.4.29", &["--prepare-argument", "--move-back"]);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

#[test]
fn f23_the_backup_says_who_sent_it_and_what_was_seen() {
    let scene = Scene::new("8.0.29");
    let manifest = scene.run().expect(0, &[]).manifest();
    assert_eq!(manifest["versions"]["tool"], "8.0.35-30");
    assert_eq!(manifest["versions"]["server"], "8.0.36-28.1");
    assert_eq!(manifest["state"]["seqno_at_least"], 39);
    for witness in ["stream", "closing_files", "transport"] {
        assert_eq!(manifest["witnesses"][witness]["holds"], true, "{witness}");
    }
    // Nobody told the receiver of somebody else's request what the donor said at the end.
    assert_eq!(manifest["witnesses"]["group"], Value::Null);
    assert!(manifest["totals"]["files"].as_u64() > Some(10));
}
