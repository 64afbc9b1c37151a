//! Every generation with every option that changes what is sent: received, restored, compared.

use std::os::unix::fs::MetadataExt;

use super::*;

/// A generation, and the version of its backup tool.
const ALL: [(&str, &str); 10] = [
    ("5.6", "2.3.10"),
    ("5.7.14", "2.4.4"),
    ("5.7.17", "2.4.6"),
    ("5.7.28", "2.4.18"),
    ("5.7", "2.4.29"),
    ("8.0.23", "8.0.25-17"),
    ("8.0.28", "8.0.28-21"),
    ("8.0.29", "8.0.35-30"),
    ("8.4", "8.4.0-2"),
    ("9.6", "9.6.0-1"),
];
const OLD: std::ops::Range<usize> = 0..5;
const NEW: std::ops::Range<usize> = 5..10;

/// Receives and restores; every file of the donor must come back as it was.
fn round_trip(scene: &Scene, version: &str, restore: &[&str]) {
    let name = scene.donor.to_string();
    let ended = scene.run().expect(0, &[]);
    assert_eq!(ended.donor, Some(0), "{name}: {}", ended.stderr);
    assert_eq!(ended.manifest()["flavour"], "percona", "{name}");
    let restored = scene.restore(version, restore);
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{name}: {said}");
    compare(scene, &name);
    let grastate = std::fs::read_to_string(scene.path("data/grastate.dat")).expect("grastate.dat");
    let expected =
        "uuid:    3ae18adc-e690-11f1-aa68-dbedcff0437f\nseqno:   41\nsafe_to_bootstrap: 1\n";
    let is_streamed = scene.donor["payload"] == "server";
    assert!(is_streamed || grastate.ends_with(expected), "{name}: {grastate}");
    std::fs::remove_dir_all(scene.path("data")).expect("removes");
}

fn compare(scene: &Scene, name: &str) {
    let (sent, found) = (scene.content(), files_below(&scene.path("data")));
    for (file, content) in &sent {
        let is_tools = file.starts_with("xtrabackup_") || file == "backup-my.cnf";
        let is_sparse = file == "shop/sparse.ibd" && !found.contains_key(file);
        let is_packed = scene.donor["compress"].is_string() || scene.donor["streamfmt"] == "tar";
        if !(is_tools || is_sparse && is_packed) {
            assert!(found.get(file) == Some(content), "{name}: {file} differs");
        }
    }
    for gone in ["auto.cnf", "sst_info", "xtrabackup_keys", "backup-my.cnf"] {
        assert!(!found.contains_key(gone), "{name}: {gone} is still there");
    }
}

#[test]
fn every_generation_is_received_and_restored() {
    for (generation, version) in ALL {
        round_trip(&Scene::new(generation), version, &[]);
    }
}

#[test]
fn tar_of_old_donors_is_received_and_restored() {
    for (generation, version) in &ALL[OLD] {
        round_trip(&Scene::new(generation).donor("streamfmt", "tar"), version, &[]);
    }
}

#[test]
fn tar_of_new_donors_fails_as_theirs_does() {
    for (generation, _) in &ALL[NEW] {
        let ended = Scene::new(generation)
            .donor("streamfmt", "tar")
            .receive(&["--second-connection-timeout", "2"])
            .run();
        let ended = ended.expect(75, &["did not start the backup"]);
        assert_eq!(ended.donor, Some(22));
    }
}

#[test]
fn outer_compressors_are_taken_off() {
    for (generation, version) in ALL {
        for compressor in ["gzip -1", "zstd -q", "lz4 -q"] {
            round_trip(&Scene::new(generation).donor("compressor", compressor), version, &[]);
        }
    }
}

#[test]
fn other_compressors_need_a_command() {
    // The last one has no magic: it turns every byte into its successor.
    let commands = [
        ("xz -0", "xz -dc"),
        ("bzip2 -1", "bzip2 -dc"),
        ("tr '\\000-\\377' '\\001-\\377\\000'", "tr '\\001-\\377\\000' '\\000-\\377'"),
    ];
    for (compressor, decompressor) in commands {
        let scene = Scene::new("8.0.29").donor("compressor", compressor);
        round_trip(&scene.receive(&["--sst-decompressor", decompressor]), "8.0.35-30", &[]);
    }
    // Anybody may connect to `receive`, so one connection that cannot be read does not end it.
    let refused = Scene::new("8.0.29").donor("compressor", "xz -0");
    let refused = refused.receive(&["--first-connection-timeout", "2"]).run();
    refused.expect(75, &["did not send its metadata", "wrapped in xz"]);
}

#[test]
fn every_mode_of_encryption_is_received() {
    for (generation, version) in &ALL[OLD] {
        for mode in [2, 3, 4] {
            round_trip(&Scene::new(generation).encrypted(mode), version, &[]);
        }
    }
    for (generation, version) in &ALL[NEW] {
        round_trip(&Scene::new(generation).encrypted(4), version, &[]);
    }
}

#[test]
fn encrypt_1_of_old_donors_is_opened_with_its_key_on_the_way_and_at_restore() {
    for key in ["0123456789abcdef", "0123456789abcdef01234567", "0123456789abcdef0123456789abcdef"]
    {
        for (generation, version) in &ALL[OLD] {
            let mut scene = Scene::new(generation).donor("encrypt", 1).donor("key", key);
            let file = scene.path("key");
            std::fs::write(&file, key).expect("writes");
            let file = file.display().to_string();
            scene = scene.receive(&["--sst-encrypt-key-file", &file]);
            for compress in ["", "quicklz"] {
                scene = scene.donor("compress", compress);
                round_trip(&scene, version, &["--decrypt-key-file", &file]);
            }
        }
    }
}

#[test]
fn encryption_and_compression_nest() {
    let scene =
        Scene::new("8.4").encrypted(4).donor("compressor", "zstd -q").donor("compress", "lz4");
    round_trip(&scene, "8.4.0-2", &[]);
}

#[test]
fn members_compressed_one_by_one_are_restored_plain() {
    for (generation, version) in ALL {
        for compress in ["quicklz", "lz4", "zstd"] {
            round_trip(&Scene::new(generation).donor("compress", compress), version, &[]);
        }
    }
}

#[test]
fn a_transition_key_is_kept_protected_and_given_back() {
    for (generation, version) in &[ALL[3], ALL[4], ALL[7], ALL[8]] {
        let scene = Scene::new(generation).encrypted(4).donor("keyring", "transition");
        let refused = scene.run().expect(78, &["key of its encrypted tablespaces", "--recipient"]);
        assert_ne!(refused.donor, None);
        let identity = age_identity(&scene);
        let recipient = recipient_of(&identity);
        let scene = scene.receive(&["--recipient", &recipient]);
        let identity = identity.display().to_string();
        let arguments =
            ["--identity-file", &identity, "--move-back-argument", "--component-keyring-config=/k"];
        round_trip(&scene, version, &arguments);
        let stored = files_below(&scene.path("repository"));
        let secret = b"Zk3uabcdefghijklmnopqrstuvwxyz01";
        let is_open = stored.values().any(|bytes| bytes.windows(32).any(|piece| piece == secret));
        assert!(!is_open, "{generation}: the key lies open");
    }
}

#[test]
fn the_keyring_of_an_old_donor_is_kept_and_given_back() {
    let scene = Scene::new("5.7.17").donor("keyring", "file");
    scene.run().expect(78, &["--allow-plain-keys"]);
    let scene = scene.receive(&["--allow-plain-keys"]);
    round_trip(&scene, "2.4.6", &[]);
}

#[test]
fn holes_of_page_compressed_tables_stay_holes() {
    let scene = Scene::new("8.0.29");
    scene.run().expect(0, &[]);
    assert!(scene.restore("8.0.35-30", &[]).status.success());
    let file = std::fs::metadata(scene.path("data/shop/sparse.ibd")).expect("is there");
    assert_eq!(file.len(), 5000 + 60_536 + 4096 + 61_440);
    assert!(file.blocks() * 512 < file.len() / 2, "{} blocks", file.blocks());
}

#[test]
fn ipv6_is_received_from_generations_that_can_dial_it() {
    let mut scene = Scene::new("8.0.29");
    scene.listen = "[::1]:0";
    round_trip(&scene, "8.0.35-30", &[]);
    let mut old = Scene::new("5.6").receive(&["--first-connection-timeout", "2"]);
    old.listen = "[::1]:0";
    assert_eq!(old.run().expect(75, &["did not send its metadata"]).donor, Some(32));
}

#[test]
fn another_series_of_the_backup_tool_is_refused() {
    let scene = Scene::new("8.4");
    scene.run().expect(0, &[]);
    for version in ["8.0.35-30", "2.4.29", "9.6.0-1"] {
        let restored = scene.restore(version, &[]);
        assert_eq!(restored.status.code(), Some(78), "{version}");
        assert!(!scene.path("data").exists());
    }
}

/// A key pair of `age`, made by its library.
fn age_identity(scene: &Scene) -> PathBuf {
    use age::secrecy::ExposeSecret;

    let identity = age::x25519::Identity::generate();
    let path = scene.path("identity");
    let text = format!("# {}\n{}\n", identity.to_public(), identity.to_string().expose_secret());
    std::fs::write(&path, text).expect("writes");
    path
}

fn recipient_of(identity: &Path) -> String {
    let text = std::fs::read_to_string(identity).expect("reads");
    text.lines().next().expect("a line").trim_start_matches("# ").to_owned()
}
