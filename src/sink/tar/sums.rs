//! The list of hashes at the end of a tar, as `b3sum` writes and checks it.

use galera_protocol::xbstream::EntryPath;

/// The list's name in the archive. It is the last member: without it, the archive is not whole.
pub const SUMS_NAME: &str = "galera-sst.b3sum";

/// The largest list that is read.
pub(crate) const SUMS_BYTES_MAX: u64 = 1 << 30;

/// One line: the hash, two blanks, the name; a name with a backslash or a line's end is escaped.
pub(super) fn push(list: &mut Vec<u8>, path: &EntryPath, hash: blake3::Hash) {
    let name = path.as_bytes();
    if name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r')) {
        list.push(b'\\');
    }
    list.extend_from_slice(hash.to_hex().as_bytes());
    list.extend_from_slice(b"  ");
    for &byte in name {
        match byte {
            b'\\' => list.extend_from_slice(b"\\\\"),
            b'\n' => list.extend_from_slice(b"\\n"),
            b'\r' => list.extend_from_slice(b"\\r"),
            _ => list.push(byte),
        }
    }
    list.push(b'\n');
}

/// Reads a list; `None` if it is none.
pub(crate) fn parse(list: &[u8]) -> Option<Vec<(EntryPath, blake3::Hash)>> {
    let lines = list.strip_suffix(b"\n").unwrap_or(list).split(|&byte| byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<(EntryPath, blake3::Hash)> {
    let (is_escaped, line) = match line.strip_prefix(b"\\") {
        Some(line) => (true, line),
        None => (false, line),
    };
    let (hash, name) = line.split_at_checked(2 * blake3::OUT_LEN)?;
    let name = name.strip_prefix(b"  ")?;
    let hash = blake3::Hash::from_hex(hash).ok()?;
    let name = if is_escaped { unescape(name)? } else { name.to_vec() };
    Some((EntryPath::parse(&name).ok()?, hash))
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            _ => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_survives_the_list() {
        let names: [&[u8]; 3] = [b"db/t.ibd", b"db/odd\nname\\here", b"db/\xff"];
        let hash = blake3::hash(b"content");
        let mut list = Vec::new();
        let paths = names.map(|name| EntryPath::parse(name).expect("valid name"));
        paths.iter().for_each(|path| push(&mut list, path, hash));
        let expected: Vec<_> = paths.into_iter().map(|path| (path, hash)).collect();
        assert_eq!(parse(&list), Some(expected));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [&b"x"[..], b"00  a\n", b"\\x\n", &[0xff; 70]] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(b""), Some(Vec::new()));
    }
}
