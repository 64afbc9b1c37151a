//! What may be done to a sink, and what must come of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use galera_protocol::xbstream::{EntryPath, Event, FileId, Reader, ReaderConfig, StreamError};
use galera_sst::sink::{Entry, Piece, Sink, SinkError, SinkFile};

/// Files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// One call of a sink or of one of its files.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create(&'static str),
    Write(&'static str, Piece),
    Finish(&'static str),
    Rename(&'static str, &'static str),
    Remove(&'static str),
}

use Step::{Create, Finish, Remove, Rename, Write};

/// Interleaved files, an empty one, directories, holes in the middle and at the end.
pub(crate) fn percona() -> Vec<Step> {
    vec![
        Create("ibdata1"),
        Write("ibdata1", data(b"system ")),
        Create("db/deep/er/t.ibd"),
        Write("db/deep/er/t.ibd", data(&[7; 5000])),
        Write("ibdata1", data(b"tablespace")),
        Finish("ibdata1"),
        Write("db/deep/er/t.ibd", Piece::Hole(9000)),
        Write("db/deep/er/t.ibd", data(b"page")),
        Write("db/deep/er/t.ibd", Piece::Hole(4096)),
        Finish("db/deep/er/t.ibd"),
        Create("db/empty.frm"),
        Finish("db/empty.frm"),
    ]
}

/// Seeking back and past the end, renaming onto a file and into a new directory, removing, replacing.
pub(crate) fn mariadb() -> Vec<Step> {
    vec![
        Create("aria_log.00000001"),
        Write("aria_log.00000001", data(&[1; 100])),
        Write("aria_log.00000001", Piece::Seek(37)),
        Write("aria_log.00000001", data(b"seven b")),
        Finish("aria_log.00000001"),
        Create("db/a.MYD"),
        Write("db/a.MYD", data(b"rows of a")),
        Finish("db/a.MYD"),
        Create("db/b.MYD"),
        Write("db/b.MYD", data(b"rows of b, more of them")),
        Finish("db/b.MYD"),
        Rename("db/a.MYD", "db/b.MYD"),
        Rename("db/b.MYD", "other/c.MYD"),
        Rename("db/never.MYD", "other/never.MYD"),
        Create("db/gone.MYI"),
        Write("db/gone.MYI", data(b"index")),
        Finish("db/gone.MYI"),
        Remove("db/gone.MYI"),
        Remove("db/never.MYI"),
        Create("db/t.frm"),
        Write("db/t.frm", data(b"the old definition")),
        Finish("db/t.frm"),
        Create("db/t.frm"),
        Write("db/t.frm", data(b"the new one")),
        Finish("db/t.frm"),
        Create("db/u.frm"),
        Write("db/u.frm", data(b"not empty")),
        Finish("db/u.frm"),
        Create("db/u.frm"),
        Finish("db/u.frm"),
    ]
}

/// Files written by `steps`.
pub(crate) fn expected(steps: &[Step]) -> Files {
    let mut files = Files::new();
    let mut open = BTreeMap::new();
    for step in steps {
        match step {
            Create(name) => {
                open.insert(*name, Content::default());
            }
            Write(name, piece) => open.get_mut(name).expect("open file").write(piece),
            Finish(name) => {
                let content = open.remove(name).expect("open file");
                files.insert((*name).to_owned(), content.bytes);
            }
            Rename(from, to) => {
                if let Some(bytes) = files.remove(*from) {
                    files.insert((*to).to_owned(), bytes);
                }
            }
            Remove(name) => {
                files.remove(*name);
            }
        }
    }
    files
}

/// Files of a stream.
pub(crate) fn files_of_stream(stream: &[u8]) -> Result<Files, StreamError> {
    let mut reader = Reader::new(ReaderConfig::default());
    let mut input = Bytes::copy_from_slice(stream);
    let mut files = Files::new();
    let mut open: BTreeMap<FileId, (EntryPath, Content)> = BTreeMap::new();
    while let Some(event) = reader.read(&mut input)? {
        let mut write = |file: FileId, piece| {
            open.get_mut(&file).expect("open file").1.write(&piece);
        };
        match event {
            Event::Data { file, bytes } => write(file, Piece::Data(bytes)),
            Event::Hole { file, length } => write(file, Piece::Hole(length)),
            Event::Seek { file, offset } => write(file, Piece::Seek(offset)),
            Event::Opened { file, path, .. } => {
                open.insert(file, (path, Content::default()));
            }
            Event::Closed { file } => {
                let (path, content) = open.remove(&file).expect("open file");
                files.insert(path.to_string(), content.bytes);
            }
            Event::Renamed { from, to } => {
                let bytes = files.remove(&from.to_string()).expect("complete file");
                files.insert(to.to_string(), bytes);
            }
            Event::Removed { path } => {
                files.remove(&path.to_string());
            }
        }
    }
    reader.end().map(|()| files)
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    position: usize,
}

impl Content {
    fn write(&mut self, piece: &Piece) {
        match piece {
            Piece::Data(bytes) => self.overwrite(bytes),
            Piece::Hole(length) => self.overwrite(&vec![0; *length as usize]),
            Piece::Seek(offset) => self.position = *offset as usize,
        }
    }

    fn overwrite(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[self.position..end].copy_from_slice(bytes);
        self.position = end;
    }
}

/// A sink and its open files, as the pipeline would hold them.
pub(crate) struct Driver<S: Sink> {
    pub(crate) sink: S,
    open: BTreeMap<&'static str, S::File>,
}

impl<S: Sink> Driver<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, open: BTreeMap::new() }
    }

    pub(crate) async fn all(&mut self, steps: &[Step]) -> Result<(), SinkError> {
        for step in steps {
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), SinkError> {
        match step {
            Create(name) => {
                let file = self.sink.create(&Entry { path: path(name), size: None }).await?;
                self.open.insert(name, file);
                Ok(())
            }
            Write(name, piece) => {
                self.open.get_mut(name).expect("open file").write(piece.clone()).await
            }
            Finish(name) => self.open.remove(name).expect("open file").finish().await,
            Rename(from, to) => self.sink.rename(&path(from), &path(to)).await,
            Remove(name) => self.sink.remove(&path(name)).await,
        }
    }
}

fn path(name: &str) -> EntryPath {
    EntryPath::parse(name.as_bytes()).expect("valid name")
}

fn data(bytes: &[u8]) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes))
}
