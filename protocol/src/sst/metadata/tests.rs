use proptest::prelude::*;

use super::*;
use crate::xbstream::Fault;

const UUID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";

/// Conn 1 of a MariaDB 10.11 donor, as it was captured.
const MARIADB_CONN_1: &str = concat!(
    "5842535443 4b303100501600000078747261626163 6b75705f67616c6572615f696e666f",
    "2a000000000000000000000000000000e4be6b65",
    "33616531386164632d653639302d313166312d616136382d6462656463666630343337663a333920300a",
    "5842535443 4b3031004516000000787472616261636b75705f67616c6572615f696e666f",
    "5842535443 4b30310050110000 00646f6e6f725f67616c6572615f696e666f",
    "2a000000000000000000000000000000e4be6b65",
    "33616531386164632d653639302d313166312d616136382d6462656463666630343337663a333920300a",
    "5842535443 4b3031004511000000646f6e6f725f67616c6572615f696e666f",
);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| core::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("a hexadecimal digit")).collect()
}

fn decode(container: Container, input: &[u8]) -> Result<Metadata, MetadataError> {
    Metadata::decode(container, Bytes::copy_from_slice(input))
}

fn payload(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = prefix(b'P', name);
    out.extend(u64::try_from(bytes.len()).expect("short").to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(bytes);
    out
}

fn prefix(chunk_type: u8, name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).expect("short").to_le_bytes();
    [b"XBSTCK01\0", &[chunk_type][..], &length, name.as_bytes()].concat()
}

fn xbstream(files: &[(&str, &str)]) -> Vec<u8> {
    let file =
        |(name, text): &(&str, &str)| [payload(name, text.as_bytes()), prefix(b'E', name)].concat();
    files.iter().flat_map(file).collect()
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out: Vec<u8> = files.iter().flat_map(|(name, text)| tar_member(name, text)).collect();
    out.resize(10240, 0);
    out
}

fn tar_member(name: &str, text: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend(text.as_bytes());
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn sst_info(text: &str) -> Result<Metadata, MetadataError> {
    decode(Container::Xbstream, &xbstream(&[("sst_info", text)]))
}

#[test]
fn the_captured_metadata_of_mariadb_is_read() {
    let input = hex(MARIADB_CONN_1);
    assert_eq!(input.len(), 258);
    let metadata = decode(Container::Xbstream, &input).expect("a real capture");
    assert_eq!(metadata.position.to_string(), format!("{UUID}:39"));
    assert_eq!(metadata.domain.as_deref(), Some("0"));
    assert_eq!(metadata.flavour, Some(Flavour::MariaDb));
    let names: Vec<String> = metadata.files.iter().map(|file| file.name.to_string()).collect();
    assert_eq!(names, ["xtrabackup_galera_info", "donor_galera_info"]);
    assert_eq!(metadata.files[0].bytes, format!("{UUID}:39 0\n"));
}

#[test]
fn the_metadata_of_percona_xtradb_cluster_is_read() {
    let text = format!(
        "[sst]\ngalera-gtid={UUID}:4711\nbinlog-name=binlog\nmysql-version=8.0.36-28.1\n\
         transition-key=Zk3u0123456789abcdefghijklmnopqr\n"
    );
    let metadata = sst_info(&text).expect("valid");
    assert_eq!(metadata.position.to_string(), format!("{UUID}:4711"));
    assert_eq!(metadata.flavour, Some(Flavour::PerconaXtraDbCluster));
    assert_eq!(metadata.server_version.as_deref(), Some("8.0.36-28.1"));
    assert_eq!(metadata.binlog_name.as_deref(), Some("binlog"));
    let key = metadata.transition_key.as_ref().map(Secret::reveal);
    assert_eq!(key, Some("Zk3u0123456789abcdefghijklmnopqr"));
    let debug = format!("{metadata:?}");
    assert!(!debug.contains("Zk3u"), "a secret must not reach a log: {debug}");
}

#[test]
fn sst_info_is_read_as_tolerantly_as_the_donors_own_tools_do() {
    let text = format!(
        "# comment\ngalera_gtid = {UUID}:1\r\nbinlog-name=\nkeyring-component-type=x\n\
         galera-gtid\t=\t{UUID}:2 \nnonsense\n"
    );
    let metadata = sst_info(&text).expect("valid");
    assert_eq!(metadata.position.seqno, 2);
    assert_eq!(metadata.binlog_name, None);
    assert_eq!(metadata.server_version, None);
}

#[test]
fn the_extra_lines_of_mariadb_are_read() {
    let info = format!("{UUID}:39 0\nsecret s3cr3t\ntotal 103001895\n");
    let donor = format!("{UUID}:39 0\n");
    let input = xbstream(&[("xtrabackup_galera_info", &info), ("donor_galera_info", &donor)]);
    let metadata = decode(Container::Xbstream, &input).expect("valid");
    assert_eq!(metadata.secret.as_ref().map(Secret::reveal), Some("s3cr3t"));
    assert_eq!(metadata.total_bytes, Some(103_001_895));
}

#[test]
fn every_generation_of_galera_info_is_accepted() {
    let line = format!("{UUID}:7");
    let cases: [(&[&str], Option<Flavour>); 4] = [
        (&["xtrabackup_galera_info"], None),
        (&["mariadb_backup_galera_info"], Some(Flavour::MariaDb)),
        (&["mariadb_backup_galera_info", "donor_galera_info"], Some(Flavour::MariaDb)),
        (&["donor_galera_info"], Some(Flavour::MariaDb)),
    ];
    for (names, flavour) in cases {
        let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, line.as_str())).collect();
        for (container, input) in
            [(Container::Xbstream, xbstream(&files)), (Container::Tar, tar(&files))]
        {
            let metadata = decode(container, &input).expect("valid");
            assert_eq!(metadata.position.seqno, 7);
            assert_eq!(metadata.flavour, flavour, "{names:?}");
        }
    }
}

#[test]
fn an_incremental_transfer_is_an_error_in_every_form() {
    let info = format!("{UUID}:7 0\n");
    let pxc = format!("[sst]\ngalera-gtid={UUID}:7\n");
    let cases: [&[(&str, &str)]; 3] = [
        &[("sst_info", &pxc), ("xtrabackup_ist", "1\n")],
        &[
            ("xtrabackup_galera_info", &info),
            ("donor_galera_info", &info),
            ("xtrabackup_ist", "1\n"),
        ],
        &[("xtrabackup_ist", "1\n")],
    ];
    for files in cases {
        let xbstream = decode(Container::Xbstream, &xbstream(files));
        assert_eq!(xbstream, Err(MetadataError::Bypass));
        assert_eq!(decode(Container::Tar, &tar(files)), Err(MetadataError::Bypass));
    }
}

#[test]
fn an_archive_that_is_cut_anywhere_counts_as_truncated() {
    let xbstream = xbstream(&[("sst_info", &format!("galera-gtid={UUID}:7\n"))]);
    let tar = tar(&[("sst_info", &format!("galera-gtid={UUID}:7\n"))]);
    for cut in 1..xbstream.len() {
        let error = decode(Container::Xbstream, &xbstream[..cut]).expect_err("cut");
        assert!(error.is_truncated(), "{cut}: {error:?}");
    }
    for cut in 1..1024 {
        let error = decode(Container::Tar, &tar[..cut]).expect_err("cut");
        assert!(error.is_truncated(), "{cut}: {error:?}");
    }
}

#[test]
fn damage_is_an_error_and_no_truncation() {
    let mut corrupt = xbstream(&[("sst_info", &format!("galera-gtid={UUID}:7\n"))]);
    corrupt[50] ^= 1;
    let error = decode(Container::Xbstream, &corrupt).expect_err("bad checksum");
    assert!(matches!(
        error,
        MetadataError::Archive(StreamError { fault: Fault::Checksum { .. }, .. })
    ));

    let mut tar = tar(&[("sst_info", &format!("galera-gtid={UUID}:7\n"))]);
    tar[1] ^= 1;
    let error = decode(Container::Tar, &tar).expect_err("bad header");
    assert!(matches!(error, MetadataError::Tar(DecodeError { problem: Problem::Checksum, .. })));
}

#[test]
fn names_that_leave_the_directory_and_unknown_chunks_are_refused() {
    for input in [
        xbstream(&[("../sst_info", "x")]),
        xbstream(&[("/sst_info", "x")]),
        prefix(b'D', "sst_info"),
        [prefix(b'S', "sst_info"), vec![0; 8], prefix(b'E', "sst_info")].concat(),
        [xbstream(&[("sst_info", "x")]), prefix(b'D', "sst_info")].concat(),
    ] {
        let error = decode(Container::Xbstream, &input).expect_err("refused");
        assert!(!error.is_truncated(), "{error:?}");
    }
}

#[test]
fn a_missing_or_broken_position_is_named_with_its_file() {
    let name = || EntryPath::parse(b"sst_info").expect("a name");
    assert_eq!(sst_info("[sst]\n"), Err(MetadataError::NoPosition { name: name() }));
    let error = MetadataError::Position { name: name(), source: ParsePositionError::Form };
    assert_eq!(sst_info("galera-gtid=nonsense\n"), Err(error));
    let empty = xbstream(&[("donor_galera_info", "")]);
    let error = decode(Container::Xbstream, &empty).expect_err("no position");
    assert!(matches!(error, MetadataError::NoPosition { .. }));
}

#[test]
fn an_archive_without_a_known_file_is_refused() {
    let input = xbstream(&[("backup-my.cnf", "x")]);
    let error = decode(Container::Xbstream, &input);
    assert_eq!(error, Err(MetadataError::NoKnownFile));
    let input = xbstream(&[("xtrabackup_galera_info.qp", "x")]);
    let error = decode(Container::Xbstream, &input);
    assert!(matches!(error, Err(MetadataError::Wrapped { .. })));
}

#[test]
fn too_many_files_are_refused() {
    let names: Vec<String> = (0..65).map(|n| format!("f{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    for (container, input) in [
        (Container::Xbstream, xbstream(&files)),
        (Container::Tar, {
            let mut tar: Vec<u8> = files.iter().flat_map(|(n, t)| tar_member(n, t)).collect();
            tar.resize(tar.len() + 1024, 0);
            tar
        }),
    ] {
        let error = decode(container, &input).expect_err("refused");
        assert!(matches!(
            error,
            MetadataError::TooManyFiles
                | MetadataError::Tar(DecodeError { problem: Problem::TooLarge, .. })
        ));
    }
}

proptest! {
    #[test]
    fn mangled_metadata_never_panics(at in 0_usize..258, byte: u8, cut in 0_usize..259) {
        let mut input = hex(MARIADB_CONN_1);
        input[at] = byte;
        let _ = decode(Container::Xbstream, &input);
        let _ = decode(Container::Xbstream, &input[..cut]);
    }

    #[test]
    fn mangled_tar_never_panics(at in 0_usize..1024, byte: u8, cut in 0_usize..1100) {
        let mut input = tar(&[("donor_galera_info", &format!("{UUID}:7\n"))]);
        input[at] = byte;
        let _ = decode(Container::Tar, &input);
        let _ = decode(Container::Tar, &input[..cut]);
    }

    #[test]
    fn garbage_never_panics(input in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = decode(Container::Tar, &input);
        let _ = decode(Container::Xbstream, &input);
    }
}
