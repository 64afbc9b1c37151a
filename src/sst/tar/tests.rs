use galera_protocol::xbstream::{Event, Reader, ReaderConfig};

use super::*;

/// A member with its header; `kind` as tar names types.
fn member(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES];
    block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    sealed(block, content)
}

fn sealed(mut block: Vec<u8>, content: &[u8]) -> Vec<u8> {
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(BLOCK_BYTES), 0);
    block
}

/// What comes out, whatever the pieces are that go in: names and contents of whole files.
fn files(archive: &[u8], piece: usize) -> Result<Vec<(String, Vec<u8>)>, TarError> {
    let (mut reader, mut input, mut stream) =
        (TarReader::default(), BytesMut::new(), BytesMut::new());
    for piece in archive.chunks(piece) {
        input.extend_from_slice(piece);
        let mut output = BytesMut::new();
        loop {
            reader.push(&mut input, &mut output)?;
            if output.is_empty() {
                break;
            }
            stream.unsplit(output.split());
        }
    }
    reader.finish(&input)?;
    Ok(files_of(stream))
}

fn files_of(stream: BytesMut) -> Vec<(String, Vec<u8>)> {
    let (mut reader, mut input) = (Reader::new(ReaderConfig::default()), stream.freeze());
    let mut files = Vec::new();
    while let Some(event) = reader.read(&mut input).expect("a good stream") {
        match event {
            Event::Opened { path, .. } => files.push((path.to_string(), Vec::new())),
            Event::Data { bytes, .. } => {
                files.last_mut().expect("a file is open").1.extend_from_slice(&bytes);
            }
            Event::Closed { .. }
            | Event::Hole { .. }
            | Event::Seek { .. }
            | Event::Renamed { .. }
            | Event::Removed { .. } => {}
        }
    }
    reader.end().expect("a whole stream");
    files
}

fn archive() -> Vec<u8> {
    let big: Vec<u8> = (0..600_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let end = vec![0; 2 * BLOCK_BYTES];
    [
        member(b"ibdata1", b'0', &big),
        end.clone(),
        member(b"shop", b'5', b""),
        member(b"shop/empty.CSV", 0, b""),
        member(b"backup-my.cnf", b'0', b"[mysqld]\n"),
        end,
    ]
    .concat()
}

#[test]
fn members_become_files_however_they_arrive_and_however_often_the_archive_ends() {
    for piece in [1, 511, 4096, usize::MAX] {
        let files = files(&archive(), piece).expect("a good archive");
        let names: Vec<_> =
            files.iter().map(|(name, content)| (name.as_str(), content.len())).collect();
        assert_eq!(names, [("ibdata1", 600_000), ("shop/empty.CSV", 0), ("backup-my.cnf", 9)]);
        assert_eq!(files[2].1, b"[mysqld]\n");
    }
}

#[test]
fn long_names_and_sizes_come_from_extended_headers() {
    let [long, other] = ["d", "e"].map(|name| format!("{}/t.ibd", name.repeat(150)));
    let pax = format!("{} path={long}\n", long.len() + 10);
    let mut large = member(b"large", b'0', b"");
    large.truncate(BLOCK_BYTES);
    large[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    let archive = [
        member(b"x", b'x', pax.as_bytes()),
        member(b"short", b'0', b"pax"),
        member(b"x", b'L', format!("{other}\0").as_bytes()),
        member(b"short", b'0', b"gnu"),
        sealed(large, b"abc"),
        vec![0; 1024],
    ]
    .concat();
    let files = files(&archive, 100).expect("a good archive");
    let expected =
        [(long, b"pax".to_vec()), (other, b"gnu".to_vec()), ("large".into(), b"abc".to_vec())];
    assert_eq!(files, expected);
}

#[test]
fn every_cut_is_noticed() {
    let archive = archive();
    let body = archive.len() - 2 * BLOCK_BYTES;
    for cut in (0..body).step_by(BLOCK_BYTES / 2).filter(|cut| !(600_576..601_700).contains(cut)) {
        assert_eq!(files(&archive[..cut], usize::MAX), Err(TarError::Truncated), "{cut}");
    }
}

#[test]
fn damage_and_what_no_backup_holds_are_refused() {
    let mut damaged = archive();
    damaged[3] ^= 1;
    assert_eq!(files(&damaged, 4096), Err(TarError::Header));
    assert_eq!(files(&member(b"link", b'2', b""), 4096), Err(TarError::Unsupported));
    let mut endless = vec![0; BLOCK_BYTES];
    endless[124..135].copy_from_slice(b"77777777777");
    endless[156] = b'x';
    assert_eq!(files(&sealed(endless, b""), 4096), Err(TarError::Unsupported));
}
