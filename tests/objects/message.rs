//! One HTTP message, read as a whole: enough for clients that send a length.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A request.
pub(crate) struct Message {
    /// Its first line and its headers.
    pub(crate) head: String,
    /// All of it.
    bytes: Vec<u8>,
    body_at: usize,
}

impl Message {
    /// Reads one; none if the connection ends before it does.
    pub(crate) async fn read(client: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let body_at = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if client.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&bytes[..body_at]).into_owned();
        let length =
            header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        while bytes.len() < body_at + length {
            if client.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(Self { head, bytes, body_at }))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body_at..]
    }

    /// The same, told to close its connection afterwards.
    pub(crate) fn closing(&self) -> Vec<u8> {
        let mut request = self.bytes[..self.body_at - 2].to_vec();
        request.extend_from_slice(b"Connection: close\r\n\r\n");
        request.extend_from_slice(self.body());
        request
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
