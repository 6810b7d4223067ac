//! The journal of systemd, in its native protocol: a datagram a line, with fields that can be searched.
//!
//! The protocol is a few rules on bytes (`systemd.io/JOURNAL_NATIVE_PROTOCOL`), and a line is bounded far below the longest
//! datagram, so none needs the descriptor that longer ones are passed in.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::line::Line;

/// The journal of this machine, or what stands for it in a test.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl Journal {
    /// The journal that listens at `path`.
    ///
    /// # Errors
    /// Where nobody does.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), socket: Some(connect(path)?) })
    }

    /// Sends a line. A journal that was restarted is found again.
    pub(super) fn add(&mut self, line: &Line) -> io::Result<()> {
        let datagram = datagram(line)?;
        if let Some(socket) = &self.socket
            && socket.send(&datagram).is_ok()
        {
            return Ok(());
        }
        self.socket = None;
        let socket = connect(&self.path)?;
        socket.send(&datagram)?;
        self.socket = Some(socket);
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(LONGEST_SEND))?;
    Ok(socket)
}

/// The line as fields: what every entry of a journal has, and each of ours by its name.
fn datagram(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    field(&mut bytes, "MESSAGE", &line.message())?;
    field(&mut bytes, "PRIORITY", &line.priority().to_string())?;
    field(&mut bytes, "SYSLOG_IDENTIFIER", "doorward")?;
    if let Value::Object(fields) = serde_json::to_value(line)? {
        for (name, value) in fields {
            let value = match value {
                Value::String(text) => text,
                Value::Array(items) => {
                    let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    items.join(" ")
                }
                other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                    other.to_string()
                }
            };
            field(&mut bytes, &format!("DOORWARD_{}", name.to_ascii_uppercase()), &value)?;
        }
    }
    Ok(bytes)
}

/// `NAME=value`, or the name, the length and the value where it has lines.
fn field(bytes: &mut Vec<u8>, name: &str, value: &str) -> io::Result<()> {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        let length = u64::try_from(value.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&length.to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
    Ok(())
}

/// Where systemd's journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// A journal that takes nothing for so long is as good as none; what it misses is counted.
const LONGEST_SEND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn heard(listener: &UnixDatagram) -> String {
        let mut bytes = vec![0; 1 << 16];
        let length = listener.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_line_is_sent_as_fields_also_to_a_journal_that_came_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        journal.add(&Line::lost(SystemTime::UNIX_EPOCH, 7)).unwrap();
        assert_eq!(
            heard(&listener),
            "MESSAGE=lost (7)\nPRIORITY=3\nSYSLOG_IDENTIFIER=doorward\nDOORWARD_COUNT=7\n\
             DOORWARD_EVENT=lost\nDOORWARD_SEQ=0\nDOORWARD_TIME=1970-01-01T00:00:00Z\nDOORWARD_V=1\n"
        );
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        journal.add(&Line::lost(SystemTime::UNIX_EPOCH, 8)).unwrap_err();
        let listener = UnixDatagram::bind(&path).unwrap();
        journal.add(&Line::lost(SystemTime::UNIX_EPOCH, 9)).unwrap();
        assert!(heard(&listener).contains("DOORWARD_COUNT=9\n"));
    }

    #[test]
    fn a_value_with_lines_cannot_pass_for_a_field() {
        let mut bytes = Vec::new();
        field(&mut bytes, "A", "1\nPRIORITY=0").unwrap();
        assert_eq!(bytes, b"A\n\x0c\0\0\0\0\0\0\x001\nPRIORITY=0\n");
    }
}
