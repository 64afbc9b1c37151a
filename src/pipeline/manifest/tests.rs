use super::*;

pub(crate) fn sample() -> Manifest {
    let at = |text: &str| text.parse::<Timestamp>().expect("valid time");
    Manifest {
        format_version: PLAIN_FORMAT_VERSION,
        backup_id: BackupId::new(at("2026-11-22T16:18:17Z"), 0x1a2b_3c4d),
        group: "lab".into(),
        state: StateSeen {
            uuid: "3ae18adc-e690-11f1-aa68-dbedcff0437f".parse().expect("valid UUID"),
            seqno_at_least: 74,
        },
        donor: Donor {
            uuid: "6a1b2c3d-4e5f-11ee-8a7b-0123456789ab".parse().expect("valid UUID"),
            name: "n1".into(),
            address: "127.0.0.1".into(),
        },
        method: Method::Mariabackup,
        flavour: Flavour::Mariadb,
        versions: Versions {
            galera_sst: "0.1.0".into(),
            server: Some("10.11.19-MariaDB".into()),
            tool_name: Some("mariadb-backup".into()),
            tool: Some("10.11.19-MariaDB".into()),
        },
        times: Times {
            started: at("2026-11-22T16:18:17.3Z"),
            requested: None,
            first_byte: None,
            received: None,
            stored: None,
        },
        totals: Totals::default(),
        witnesses: Witnesses {
            stream: Witness { holds: true, seen: StreamSeen { files: 220, bytes: 1 } },
            closing_files: Witness { holds: true, seen: ClosingFilesSeen::default() },
            transport: Witness {
                holds: true,
                seen: TransportSeen { end: TransportEnd::Fin, tls: None },
            },
            group: None,
            command: None,
            sink: None,
        },
        storage: None,
    }
}

#[test]
fn a_manifest_round_trips() {
    let manifest = sample();
    let json = manifest.encode().expect("encodes");
    assert_eq!(Manifest::decode(&json).expect("decodes"), manifest);
}

#[test]
fn the_version_stands_first_and_ids_are_text() {
    let json = String::from_utf8(sample().encode().expect("encodes")).expect("UTF-8");
    assert!(json.starts_with("{\n  \"format_version\": 1,\n  \"backup_id\": \"20261122T161817Z-"));
    assert!(json.contains("\"uuid\": \"3ae18adc-e690-11f1-aa68-dbedcff0437f\""));
    assert!(json.contains("\"method\": \"mariabackup\""));
}

#[test]
fn unknown_fields_are_ignored() {
    let mut json: serde_json::Value =
        serde_json::from_slice(&sample().encode().expect("encodes")).expect("JSON");
    json["weather"] = "rain".into();
    json["donor"]["mood"] = 3.into();
    let decoded = Manifest::decode(json.to_string().as_bytes()).expect("decodes");
    assert_eq!(decoded, sample());
}

#[test]
fn a_greater_version_is_refused_before_the_rest_is_read() {
    let error = Manifest::decode(br#"{"format_version": 4, "all": "different"}"#);
    assert!(matches!(error, Err(ManifestError::Newer { found: 4 })));
}

#[test]
fn the_first_failed_witness_is_named() {
    let mut witnesses = sample().witnesses;
    assert_eq!(witnesses.first_failed(), None);
    witnesses.transport.holds = false;
    assert_eq!(witnesses.first_failed(), Some(WitnessName::Transport));
    witnesses.stream.holds = false;
    assert_eq!(witnesses.first_failed(), Some(WitnessName::Stream));
}
