//! `decode` on a capture of three real servers: joins, writes, state transfers, a crash, leaving.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn capture() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/vectors/captures/three-nodes.pcapng"].iter().collect()
}

fn decode(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    command.arg("decode").args(arguments).output().expect("run")
}

fn lines(arguments: &[&str]) -> Vec<String> {
    let path = capture();
    let path = path.to_string_lossy();
    let output = decode(&[arguments, &[&path]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect()
}

fn records() -> Vec<Value> {
    let lines = lines(&["--output", "json", "--bytes"]);
    lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn no_byte_of_a_real_group_is_unknown_and_nothing_is_malformed() {
    let mut frames = 0;
    for record in records() {
        let Some(sections) = record["sections"].as_array() else { continue };
        assert_eq!(record["fault"], Value::Null, "{record}");
        let mut known = vec![false; record["hex"].as_str().expect("bytes").len() / 2];
        for field in
            sections.iter().flat_map(|section| section["fields"].as_array().expect("fields"))
        {
            let number = |name: &str| field[name].as_u64().expect("number") as usize;
            known[number("offset")..number("offset") + number("length")].fill(true);
        }
        assert!(known.iter().all(|known| *known), "{record}");
        frames += 1;
    }
    assert!(frames > 1500, "only {frames} frames");
}

#[test]
fn views_statuses_and_verdicts_are_told_as_they_change() {
    let notes: Vec<String> =
        lines(&["--layer", "sst"]).into_iter().filter(|line| line.contains(" == ")).collect();
    let has = |text: &str| notes.iter().any(|note| note.contains(text));
    assert!(has("is n3"), "{notes:#?}");
    assert!(has("n2 is JOINER: asks anybody for a state transfer"), "{notes:#?}");
    assert!(
        has(
            "primary component 3: n1, n2; gone: n3; the change took 1.000 s, after n3 had been silent for 5.180 s and was given up"
        ),
        "{notes:#?}"
    );
    assert!(has("gone: n3; the change took 0.002 s, for n3 left"), "{notes:#?}");
}

/// Four members of this program with TLS on every link and in the transfer; `SSLKEYLOGFILE` was set.
#[test]
fn a_group_with_tls_is_read_with_the_keys_that_its_members_wrote() {
    let file = |name: &str| {
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "tests/vectors/captures", name].iter().collect();
        path.to_string_lossy().into_owned()
    };
    let (capture, keys) = (file("tls-group.pcapng"), file("tls-group.keys"));
    let text = |arguments: &[&str]| {
        let output = decode(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let closed = text(&[&capture]);
    assert!(closed.lines().all(|line| line.contains("link: ")), "{closed}");
    let open = text(&["--key-log", &keys, &capture]);
    for expected in [
        "GCS STATE_REQ",
        "GCS JOIN",
        "SST: file xtrabackup_info, 315 bytes",
        "is JOINER: asks anybody for a state transfer",
    ] {
        assert!(open.contains(expected), "{expected} is missing");
    }
    for bad in ["MALFORMED", "not captured", "no frame"] {
        assert!(!open.contains(bad), "{bad}");
    }
    let wrong = decode(&["--key-log", &capture, &capture]);
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
}

#[test]
fn filters_leave_what_was_asked_for() {
    let requests = lines(&["--type", "STATE_REQ", "--no-notes"]);
    assert_eq!(requests.len(), 9, "{requests:#?}");
    let links = lines(&["--layer", "link", "--no-notes"]);
    assert!(!links.is_empty() && links.iter().all(|line| line.contains("link: ")), "{links:#?}");
    let none = lines(&["--member", "nobody", "--no-notes"]);
    assert!(none.is_empty());
    let late = lines(&["--since", "2099-01-01T00:00:00Z", "--no-notes"]);
    assert!(late.is_empty());
    let some = lines(&["--seqno", "5..5", "--no-notes"]);
    assert!(some.len() > 3 && some.iter().all(|line| line.contains("seqno=5")), "{some:#?}");
}

#[test]
fn hex_is_decoded_and_what_is_wrong_with_it_is_told() {
    let work = tempfile::tempdir().expect("directory");
    let file = work.path().join("frames.hex");
    let good =
        "24000002d550a0fc000110002230676ae69011f19bf67ba42e98f24330fac5b2e69011f1825bf6cfb731ceff";
    let bad = good.replace("d550", "d551");
    fs::write(&file, format!("{good} # a handshake\n\n{bad}\n{}\n", &good[..40])).expect("written");
    let output = decode(&["--format", "hex", &file.to_string_lossy()]);
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].ends_with("gmcast HANDSHAKE"), "{text}");
    assert!(lines[1].contains("MALFORMED frame: checksum at byte 4: checksum mismatch"), "{text}");
    assert!(lines[2].contains("MALFORMED"), "{text}");
    let output = decode(&["--format", "hex", "--bytes", &file.to_string_lossy()]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("handshake id: 30fac5b2-e690-11f1-825b-f6cfb731ceff"), "{text}");
}

/// Values of a field of ours by Wireshark's name of it.
fn our_values() -> BTreeMap<String, Vec<String>> {
    let layouts = [
        ("frame", "FRAME", "frame"),
        ("gmcast", "", "gmcast"),
        ("evs", "", "evs"),
        ("pc", "", "pc"),
    ];
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in records() {
        for section in record["sections"].as_array().into_iter().flatten() {
            let layer = section["layer"].as_str().expect("layer");
            let prefix = layouts.iter().find(|(name, ..)| *name == layer).map_or("", |(.., p)| *p);
            for field in section["fields"].as_array().expect("fields") {
                let name = field["name"].as_str().expect("name").replace(' ', "_");
                let text = field["value"].as_str().map(ToOwned::to_owned);
                let value = text.unwrap_or_else(|| field["value"].to_string());
                values.entry(format!("{prefix}.{name}")).or_default().push(value);
            }
        }
    }
    values
}

#[test]
fn tshark_with_the_generated_dissector_shows_the_same_fields() {
    let work = tempfile::tempdir().expect("directory");
    let script = work.path().join("galera.lua");
    fs::write(&script, decode(&["--wireshark"]).stdout).expect("written");
    let pairs = [
        ("galera.frame.checksum", "frame.checksum"),
        ("galera.gmcast.source", "gmcast.source"),
        ("galera.gmcast.type", "gmcast.type"),
        ("galera.evs.fifo_seqno", "evs.fifo_seqno"),
        ("galera.evs.source_view_node", "evs.source_view_node"),
        ("galera.evs_user.seq_range", "evs.seq_range"),
        ("galera.evs_install.install_view_node", "evs.install_view_node"),
        ("galera.pc.crc16", "pc.crc16"),
        ("galera.pc.seq", "pc.seq"),
        ("galera.state_msg.name", ".name"),
        ("galera.state_msg.received", ".received"),
        ("galera.action.action_id", ".action_id"),
        ("galera.action.action_size", ".action_size"),
    ];
    let mut tshark = Command::new("tshark");
    tshark.arg("-X").arg(format!("lua_script:{}", script.display()));
    tshark.arg("-r").arg(capture()).args(["-T", "fields", "-E", "aggregator=,"]);
    for (theirs, _) in pairs {
        tshark.args(["-e", theirs]);
    }
    let output = tshark.output().expect("run tshark");
    let text = String::from_utf8(output.stdout).expect("text");
    let mine = our_values();
    for (column, (name, ours)) in pairs.iter().enumerate() {
        let cells = text.lines().filter_map(|line| line.split('\t').nth(column));
        let mut theirs: Vec<&str> =
            cells.flat_map(|cell| cell.split(',')).filter(|value| !value.is_empty()).collect();
        let mut expected: Vec<&str> = mine[*ours].iter().map(String::as_str).collect();
        theirs.sort_unstable();
        expected.sort_unstable();
        assert_eq!(theirs, expected, "{name}");
    }
}
