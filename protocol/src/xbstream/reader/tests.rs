use std::collections::BTreeMap;

use bytes::BufMut;
use proptest::prelude::*;
use serde::Deserialize;

use super::super::path::PathError;
use super::*;
use crate::decode::Problem;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/xbstream");

/// What a stream makes: the simplest sink there is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Directory {
    files: BTreeMap<Vec<u8>, Vec<u8>>,
    open: BTreeMap<FileId, (EntryPath, usize, Vec<u8>)>,
}

impl Directory {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { file, path, .. } => {
                self.open.insert(file, (path, 0, Vec::new()));
            }
            Event::Data { file, bytes } => self.write(file, &bytes),
            Event::Hole { file, length } => self.write(file, &vec![0; length as usize]),
            Event::Seek { file, offset } => {
                self.open.get_mut(&file).expect("open").1 = offset as usize;
            }
            Event::Closed { file } => {
                let (path, _, content) = self.open.remove(&file).expect("open");
                self.files.insert(path.as_bytes().to_vec(), content);
            }
            Event::Renamed { from, to } => {
                let content = self.files.remove(from.as_bytes()).expect("complete file");
                self.files.insert(to.as_bytes().to_vec(), content);
            }
            Event::Removed { path } => {
                self.files.remove(path.as_bytes()).expect("complete file");
            }
        }
    }

    fn write(&mut self, file: FileId, bytes: &[u8]) {
        let (_, position, content) = self.open.get_mut(&file).expect("open");
        let end = *position + bytes.len();
        content.resize(content.len().max(end), 0);
        content[*position..end].copy_from_slice(bytes);
        *position = end;
    }
}

fn reader(dialect: Option<Dialect>) -> Reader {
    Reader::new(ReaderConfig { dialect, ..ReaderConfig::default() })
}

/// Feeds `stream` in pieces of `step` bytes.
fn read_in_steps(
    stream: &[u8],
    step: usize,
    dialect: Option<Dialect>,
) -> Result<Directory, StreamError> {
    let mut reader = reader(dialect);
    let mut directory = Directory::default();
    for piece in stream.chunks(step.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(event) = reader.read(&mut input)? {
            directory.apply(event);
        }
        assert!(input.is_empty(), "input is used up before more is asked for");
    }
    reader.end().map(|()| directory)
}

fn events(stream: &[u8]) -> Vec<Event> {
    let mut reader = reader(None);
    let mut input = Bytes::copy_from_slice(stream);
    core::iter::from_fn(|| reader.read(&mut input).expect("valid stream")).collect()
}

fn fault(stream: &[u8]) -> Fault {
    read_in_steps(stream, stream.len(), None).expect_err("refused").fault
}

/// Writes streams.
#[derive(Default)]
struct Stream(BytesMut);

impl Stream {
    fn chunk(mut self, path: &str, flags: Flags, body: Body) -> Self {
        ChunkHeader { flags, path: path.as_bytes().into(), body }.encode(&mut self.0);
        self
    }

    fn payload(self, path: &str, offset: u64, bytes: &[u8]) -> Self {
        self.flagged_payload(path, offset, bytes, Flags::default())
    }

    fn flagged_payload(self, path: &str, offset: u64, bytes: &[u8], flags: Flags) -> Self {
        let length = bytes.len() as u64;
        let extent = Extent { length, offset, checksum: crc32fast::hash(bytes) };
        let mut this = self.chunk(path, flags, Body::Payload(extent));
        this.0.put_slice(bytes);
        this
    }

    fn end(self, path: &str) -> Self {
        self.chunk(path, Flags::default(), Body::End)
    }

    fn body(self, path: &str, body: Body) -> Self {
        self.chunk(path, Flags::default(), body)
    }
}

#[derive(Deserialize)]
struct Vector {
    dialect: String,
    expect: String,
    #[serde(default)]
    files: BTreeMap<String, ExpectedFile>,
    lenient: Option<String>,
}

#[derive(Deserialize)]
struct ExpectedFile {
    size: usize,
    sha256: String,
}

fn vectors() -> Vec<(String, Vector, Vec<u8>)> {
    let listed = std::fs::read(format!("{VECTORS}/expected.json")).expect("list of vectors");
    let listed: BTreeMap<String, Vector> = serde_json::from_slice(&listed).expect("valid list");
    let read = |name: &str| std::fs::read(format!("{VECTORS}/{name}")).expect("vector");
    listed.into_iter().map(|(name, vector)| (name.clone(), vector, read(&name))).collect()
}

fn dialect(vector: &Vector) -> Option<Dialect> {
    match vector.dialect.as_str() {
        "percona" => Some(Dialect::Percona),
        "mariadb" => Some(Dialect::MariaDb),
        _ => None,
    }
}

fn check(name: &str, vector: &Vector, got: Result<Directory, StreamError>) {
    let directory = match (vector.expect.as_str(), got) {
        ("accept", Ok(directory)) => directory,
        ("reject", Err(_)) => return,
        (expected, got) => panic!("{name}: {expected} expected, {got:?}"),
    };
    let hashed = |content: &Vec<u8>| (content.len(), sha256(content));
    let files: BTreeMap<_, _> =
        directory.files.iter().map(|(path, content)| (path.clone(), hashed(content))).collect();
    let expected = vector.files.iter();
    let expected =
        expected.map(|(path, file)| (path.clone().into_bytes(), (file.size, file.sha256.clone())));
    assert_eq!(files, expected.collect(), "{name}");
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_vector_reads_as_expected_whole_and_in_any_pieces() {
    for (name, vector, stream) in vectors() {
        for step in [stream.len(), 1, 7, 1000] {
            check(&name, &vector, read_in_steps(&stream, step, dialect(&vector)));
        }
    }
}

#[test]
fn every_vector_reads_the_same_without_being_told_the_dialect() {
    for (name, vector, stream) in vectors() {
        check(&name, &vector, read_in_steps(&stream, 3, None));
    }
}

#[test]
fn a_part_of_a_stream_cut_between_chunks_lacks_only_its_ends() {
    let lenient: Vec<_> = vectors().into_iter().filter(|(_, v, _)| v.lenient.is_some()).collect();
    assert!(!lenient.is_empty());
    for (name, _, stream) in lenient {
        assert!(matches!(fault(&stream), Fault::OpenAtEnd { count: 1 }), "{name}");
    }
}

#[test]
fn a_file_is_opened_written_and_closed() {
    let stream = Stream::default().payload("a", 0, b"hello").end("a");
    let file = FileId(1);
    let path = EntryPath::parse(b"a").expect("path");
    assert_eq!(
        events(&stream.0),
        [
            Event::Opened { file, path, rewrite: false },
            Event::Data { file, bytes: Bytes::from_static(b"hello") },
            Event::Closed { file },
        ]
    );
}

#[test]
fn payload_is_a_slice_of_the_callers_buffer() {
    let stream = Stream::default().payload("a", 0, b"hello").end("a").0.freeze();
    let mut reader = reader(None);
    let mut input = stream.clone();
    reader.read(&mut input).expect("opened");
    let Ok(Some(Event::Data { bytes, .. })) = reader.read(&mut input) else { panic!("no data") };
    assert!(stream.as_ptr_range().contains(&bytes.as_ptr()));
}

#[test]
fn a_payload_is_delivered_before_its_chunk_is_complete() {
    let stream = Stream::default().payload("a", 0, &[7; 1000]).0;
    let mut reader = reader(None);
    let mut input = Bytes::copy_from_slice(&stream[..500]);
    reader.read(&mut input).expect("opened");
    let Ok(Some(Event::Data { bytes, .. })) = reader.read(&mut input) else { panic!("no data") };
    assert_eq!(bytes.len(), 500 - 35);
}

#[test]
fn the_last_piece_of_a_damaged_payload_is_not_delivered() {
    let mut stream = Stream::default().payload("a", 0, b"hello").0;
    stream[36] ^= 1;
    let mut reader = reader(None);
    let mut input = stream.freeze();
    assert!(matches!(reader.read(&mut input), Ok(Some(Event::Opened { .. }))));
    let error = reader.read(&mut input).expect_err("damaged");
    assert!(matches!(error.fault, Fault::Checksum { .. }));
    assert_eq!(reader.read(&mut Bytes::new()), Err(error.clone()));
    assert_eq!(reader.end(), Err(error));
}

#[test]
fn errors_name_the_chunk_and_the_file() {
    let good = Stream::default().payload("db/t.ibd", 0, b"hello");
    let at = good.0.len() as u64;
    let error = read_in_steps(&good.payload("db/t.ibd", 6, b"x").0, 9, None).expect_err("gap");
    assert_eq!(
        error.to_string(),
        format!("xbstream chunk at byte {at} (file db/t.ibd): offset 6 where 5 was due")
    );
}

#[test]
fn unsafe_names_are_refused_wherever_they_stand() {
    let escapes = Fault::Path(PathError::Escapes);
    assert_eq!(fault(&Stream::default().end("../x").0), escapes);
    let to = (*b"../x").into();
    assert_eq!(fault(&Stream::default().end("a").body("a", Body::Rename { to }).0), escapes);
    assert_eq!(fault(&Stream::default().body("../x", Body::Remove).0), escapes);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_any_of_it_is_read() {
    let extent = Extent { length: PAYLOAD_BYTES_MAX + 1, offset: 0, checksum: 0 };
    let refused = Fault::PayloadTooLarge { length: extent.length, limit: PAYLOAD_BYTES_MAX };
    assert_eq!(fault(&Stream::default().body("a", Body::Payload(extent)).0), refused);
    let ignorable = Some(Extent { length: u64::MAX, ..extent });
    let skipped = Body::Unknown { kind: b'Q', ignorable };
    assert!(matches!(
        fault(&Stream::default().chunk("a", Flags::IGNORABLE, skipped).0),
        Fault::PayloadTooLarge { .. }
    ));
}

#[test]
fn holes_count_towards_the_limit() {
    let map = [u32::MAX.to_le_bytes(), [0; 4]].concat();
    let extent = Extent { length: 0, offset: 0, checksum: crc32fast::hash(&map) };
    let mut stream = Stream::default().body("a", Body::Sparse { entries: 1, extent }).0;
    stream.put_slice(&map);
    assert!(matches!(fault(&stream), Fault::PayloadTooLarge { .. }));
}

#[test]
fn offsets_beyond_every_file_are_refused() {
    let far = 1 << 63;
    assert_eq!(
        fault(&Stream::default().body("a", Body::Seek { offset: far }).end("b").0),
        Fault::OffsetRange
    );
    let near = Stream::default().body("a", Body::Seek { offset: far - 1 });
    assert_eq!(fault(&near.payload("a", far - 1, b"x").0), Fault::OffsetRange);
}

#[test]
fn a_name_with_a_wrong_length_is_a_malformed_header() {
    let mut stream = Stream::default().end("a").0;
    stream[10..14].copy_from_slice(&512_u32.to_le_bytes());
    let refused = Fault::Header { field: "path", problem: Problem::TooLarge };
    assert_eq!(fault(&stream), refused);
}

#[test]
fn the_first_s_chunk_settles_the_dialect() {
    let seek = Stream::default().body("a", Body::Seek { offset: 3 }).payload("a", 3, b"x").end("a");
    let mut reader = reader(None);
    let mut input = Bytes::copy_from_slice(&seek.0);
    while reader.read(&mut input).expect("valid stream").is_some() {}
    assert_eq!((reader.dialect(), reader.end()), (Some(Dialect::MariaDb), Ok(())));
}

#[test]
fn a_stream_that_ends_with_a_seek_lacks_the_end_of_its_file() {
    let stream = Stream::default().body("a", Body::Seek { offset: 3 }).0;
    assert_eq!(fault(&stream), Fault::OpenAtEnd { count: 1 });
}

#[test]
fn percona_streams_have_neither_removal_nor_rewriting() {
    let percona = Some(Dialect::Percona);
    let removal = Stream::default().end("a").body("a", Body::Remove).0;
    let error = read_in_steps(&removal, 5, percona).expect_err("not Percona");
    assert_eq!(error.fault, Fault::UnknownType(b'D'));
    let rewrite = Stream::default().end("a").flagged_payload("a", 0, b"x", Flags::REWRITE).0;
    let error = read_in_steps(&rewrite, 5, percona).expect_err("not Percona");
    assert_eq!(error.fault, Fault::Duplicate);
}

#[test]
fn renaming_and_removing_what_never_was_says_nothing() {
    let to = (*b"b").into();
    let stream = Stream::default().body("a", Body::Rename { to }).body("c", Body::Remove).0;
    assert_eq!(events(&stream), []);
}

#[test]
fn an_empty_input_asks_for_more_in_every_state() {
    let mut reader = reader(None);
    for piece in Stream::default().payload("a", 0, b"hello").end("a").0.chunks(1) {
        assert_eq!(reader.read(&mut Bytes::new()), Ok(None));
        let mut input = Bytes::copy_from_slice(piece);
        while reader.read(&mut input).expect("valid stream").is_some() {}
    }
    assert_eq!(reader.end(), Ok(()));
}

#[test]
fn position_counts_whole_headers_and_payload_only() {
    let stream = Stream::default().payload("a", 0, b"hello").end("a").0;
    let mut reader = reader(None);
    let mut input = Bytes::copy_from_slice(&stream[..43]);
    while reader.read(&mut input).expect("valid stream").is_some() {}
    assert_eq!(reader.position(), 40);
    assert_eq!(reader.end().expect_err("cut").fault, Fault::Truncated);
}

proptest! {
    #[test]
    fn mangled_streams_never_panic(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        step in 1_usize..2000,
    ) {
        let mut vectors = vectors();
        vectors.retain(|(_, _, stream)| !stream.is_empty() && stream.len() < 10_000);
        let (_, vector, mut stream) = vectors.swap_remove(which.index(vectors.len()));
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let mut reader = reader(dialect(&vector));
        for piece in stream.chunks(step) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Ok(Some(_)) = reader.read(&mut input) {}
        }
        let _ = reader.end();
    }

    #[test]
    fn any_interleaving_of_files_reads_back(
        files in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..5), 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        step in 1_usize..300,
    ) {
        let mut stream = Stream::default();
        let mut done = vec![(0_usize, 0_u64); files.len()];
        let turns = order.iter().map(|index| index.index(files.len()));
        for file in turns.chain((0..files.len()).flat_map(|file| [file; 5])) {
            let (chunk, offset) = &mut done[file];
            let Some(bytes) = files[file].get(*chunk) else { continue };
            stream = stream.payload(&format!("f{file}"), *offset, bytes);
            *offset += bytes.len() as u64;
            *chunk += 1;
        }
        for file in 0..files.len() {
            stream = stream.end(&format!("f{file}"));
        }
        let directory = read_in_steps(&stream.0, step, None).expect("valid stream");
        for (file, chunks) in files.iter().enumerate() {
            prop_assert_eq!(&directory.files[format!("f{file}").as_bytes()], &chunks.concat());
        }
    }
}
