//! One self-contained page with a sequence chart: members as columns, time downwards, views as bands,
//! state transfers as bars, every message with its fields and bytes at a click.
//!
//! The page gets the frames as they are and the layout tables; it takes them apart itself, by the same
//! walk. It loads nothing and works without a network.

mod tables;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use galera_protocol::NodeId;
use serde_json::{Value, json};

use super::{Follow, Note, Record, SstEvent, What, text};
use crate::capture::Timestamp;

/// Bytes of a frame that a page holds. The rest of a long one is a write-set's content.
const FRAME_BYTES_MAX: usize = 2048;

/// Records of one page; a browser holds no more in comfort. Later ones are counted, not shown.
const RECORDS_MAX: usize = 500_000;

const HEAD: &str = include_str!("html/head.html");
const SCRIPT: &str = include_str!("html/chart.js");

/// A page being made.
#[derive(Debug, Default)]
pub struct Page {
    rows: Vec<Row>,
    notes: Vec<(Timestamp, Note)>,
    transfers: Vec<Transfer>,
    left_out: u64,
}

#[derive(Debug)]
struct Row {
    number: u64,
    time: Timestamp,
    from: SocketAddr,
    to: SocketAddr,
    layer: &'static str,
    kind: &'static str,
    summary: String,
    frame: String,
    /// Bytes on the wire.
    length: usize,
    is_wrong: bool,
}

/// A connection of a state transfer.
#[derive(Debug)]
struct Transfer {
    from: SocketAddr,
    to: SocketAddr,
    began: Timestamp,
    /// When it was last heard of.
    last: Timestamp,
    bytes: u64,
    files: u64,
}

/// The columns of the chart.
struct Lanes<'a> {
    follow: &'a Follow,
    names: Vec<String>,
    numbers: BTreeMap<String, usize>,
}

impl Page {
    /// Adds a record.
    pub fn take(&mut self, record: &Record, follow: &Follow) {
        if self.rows.len() >= RECORDS_MAX {
            self.left_out += 1;
            return;
        }
        if let What::Sst(event) = &record.what {
            self.transfer(record, event);
        }
        let (frame, length, is_wrong) = match &record.what {
            What::Frame { bytes, description } => {
                let shown = &bytes[..bytes.len().min(FRAME_BYTES_MAX)];
                (BASE64.encode(shown), bytes.len(), description.fault.is_some())
            }
            What::Link(_) | What::Sst(_) => (String::new(), 0, false),
        };
        self.rows.push(Row {
            number: record.number,
            time: record.time,
            from: record.from,
            to: record.to,
            layer: record.layer(),
            kind: record.kind(),
            summary: text::summary(record, follow),
            frame,
            length,
            is_wrong,
        });
    }

    /// Adds what follows from one.
    pub fn note(&mut self, time: Timestamp, note: &Note) {
        if self.notes.len() < RECORDS_MAX {
            self.notes.push((time, note.clone()));
        }
    }

    fn transfer(&mut self, record: &Record, event: &SstEvent) {
        let (from, to, time) = (record.from, record.to, record.time);
        if let SstEvent::Began(_) = event {
            self.transfers.push(Transfer { from, to, began: time, last: time, bytes: 0, files: 0 });
        }
        let is_this = |transfer: &&mut Transfer| transfer.from == from && transfer.to == to;
        let Some(transfer) = self.transfers.iter_mut().rfind(is_this) else { return };
        match event {
            SstEvent::File { size, .. } => {
                transfer.last = time;
                transfer.bytes += size;
                transfer.files += 1;
            }
            SstEvent::Ended { bytes, files } => {
                transfer.last = time;
                (transfer.bytes, transfer.files) = (*bytes, *files);
            }
            // What is missing may be noticed long after.
            SstEvent::Began(_) | SstEvent::Damaged(_) => {}
        }
    }

    /// Writes the page.
    pub fn write(self, follow: &Follow, out: &mut impl Write) -> io::Result<()> {
        let mut lanes = Lanes { follow, names: Vec::new(), numbers: BTreeMap::new() };
        out.write_all(HEAD.as_bytes())?;
        out.write_all(b"<script>\n\"use strict\";\nconst ROWS = [\n")?;
        let start = self.rows.first().map_or(0, |row| row.time.0);
        for row in &self.rows {
            writeln!(out, "{},", script_safe(&row.json(&mut lanes, start)))?;
        }
        let notes: Vec<Value> =
            self.notes.iter().map(|(time, note)| lanes.note(*time, note, start)).collect();
        let transfers: Vec<Value> =
            self.transfers.iter().map(|transfer| lanes.transfer(transfer, start)).collect();
        let nodes: BTreeMap<String, String> =
            follow.names().map(|(n, m)| (n.to_string(), m)).collect();
        let data = json!({
            "lanes": lanes.names, "notes": notes, "transfers": transfers, "nodes": nodes,
            "start": start, "left_out": self.left_out, "tables": tables::layouts(),
        });
        writeln!(out, "];\nconst DATA = {};", script_safe(&data))?;
        out.write_all(SCRIPT.as_bytes())?;
        out.write_all(b"</script></body></html>\n")
    }
}

/// JSON inside a script element must not look like its end.
fn script_safe(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace("\u{2028}", "\\u2028")
}

impl Row {
    fn json(&self, lanes: &mut Lanes<'_>, start: i64) -> Value {
        json!([
            self.number,
            self.time.0 - start,
            lanes.of(&self.from),
            lanes.of(&self.to),
            self.layer,
            self.kind,
            self.summary,
            self.frame,
            self.length,
            u8::from(self.is_wrong),
            format!("{} > {}", self.from, self.to),
        ])
    }
}

impl Lanes<'_> {
    fn number(&mut self, name: String) -> usize {
        let next = self.names.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
        }
        number
    }

    /// The column of an address: its node's, or the node's at the same IP if there is only one.
    fn of(&mut self, address: &SocketAddr) -> usize {
        let name = match self.follow.node_at(address) {
            Some(node) => self.follow.name(&node),
            None => self.follow.only_name_at(address.ip()).unwrap_or_else(|| "others".to_owned()),
        };
        self.number(name)
    }

    fn of_node(&mut self, node: &NodeId) -> usize {
        let name = self.follow.name(node);
        self.number(name)
    }

    fn note(&mut self, time: Timestamp, note: &Note, start: i64) -> Value {
        let text = self.follow.sentence(note);
        let at = time.0 - start;
        match note {
            Note::Named { node, .. } => json!({"t": at, "text": text, "lane": self.of_node(node)}),
            Note::Status { node, status, .. } => {
                json!({"t": at, "text": text, "lane": self.of_node(node), "status": status})
            }
            Note::View { number, members, .. } => {
                let mut members: Vec<usize> =
                    members.iter().map(|node| self.of_node(node)).collect();
                members.sort_unstable();
                members.dedup();
                json!({"t": at, "text": text, "view": number, "members": members})
            }
        }
    }

    fn transfer(&mut self, transfer: &Transfer, start: i64) -> Value {
        json!({
            "t": transfer.began.0 - start,
            "end": transfer.last.0 - start,
            "from": self.of(&transfer.from),
            "to": self.of(&transfer.to),
            "bytes": transfer.bytes,
            "files": transfer.files,
            "addresses": format!("{} > {}", transfer.from, transfer.to),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::LinkEvent;

    #[test]
    fn a_page_holds_its_records_and_no_name_can_end_its_script() {
        let (mut page, follow) = (Page::default(), Follow::default());
        let address = SocketAddr::from(([10, 0, 0, 1], 4567));
        let what = What::Sst(SstEvent::File { path: "</script><b>".to_owned(), size: 5 });
        page.take(
            &Record { number: 1, time: Timestamp(7), from: address, to: address, what },
            &follow,
        );
        let what = What::Link(LinkEvent::Reset);
        page.take(
            &Record { number: 2, time: Timestamp(9), from: address, to: address, what },
            &follow,
        );
        let mut text = Vec::new();
        page.write(&follow, &mut text).expect("written");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text.matches("</script>").count(), 1);
        assert!(text.contains("\\u003c/script>\\u003cb>"), "the name is escaped");
        assert!(text.contains("connection reset"));
        assert!(!text.contains("http://") && !text.contains("https://"), "it loads nothing");
    }
}
