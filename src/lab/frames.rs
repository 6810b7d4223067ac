//! The small server of exercise 19, which sends every message back, as carefully as its file says.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The file. What is not written is as careless as a first draft.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    listen: String,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    signed: bool,
    /// In bytes; without it there is no longest message.
    longest: Option<i64>,
    #[serde(default)]
    room: Room,
    #[serde(default)]
    read: Read,
    #[serde(default)]
    rest: Rest,
    #[serde(default)]
    empty: Empty,
    #[serde(default)]
    bad: Bad,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    #[default]
    Big,
    Little,
}

/// When there is room for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Room {
    /// For all of it, as soon as its length was read.
    #[default]
    Announced,
    /// For what has come.
    Arrived,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Read {
    /// What one read gives is taken for all that there is.
    #[default]
    Once,
    /// Until everything is there, or the end.
    Whole,
}

/// What becomes of bytes that came with a message and belong to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Rest {
    #[default]
    Dropped,
    Kept,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Empty {
    #[default]
    TheEnd,
    AMessage,
}

/// What a bad message ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Bad {
    #[default]
    TheServer,
    TheConnection,
}

/// Serves until the process is ended, or a bad message ends it.
///
/// # Errors
/// In a sentence: what in the file cannot be done, or which message ended the server.
pub(crate) async fn serve(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let listener = TcpListener::bind(&plan.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", plan.listen))?;
    let plan = Arc::new(plan);
    let (broken, mut ends) = tokio::sync::mpsc::channel(1);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors for a moment; whoever waits is still there afterwards.
                Err(_) => continue,
            },
            why = ends.recv() => return Err(why.unwrap_or_default()),
        };
        let (plan, broken) = (Arc::clone(&plan), broken.clone());
        tokio::spawn(async move {
            let ended = Talk { plan: &plan, stream, buffer: Vec::new() }.answer().await;
            if let Err(Broken::Bad(why)) = ended
                && plan.bad == Bad::TheServer
            {
                drop(broken.send(format!("a bad message: {why}")).await);
            }
        });
    }
}

/// Why a connection ended before its end.
enum Broken {
    Bad(&'static str),
    Gone,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

struct Talk<'p> {
    plan: &'p Plan,
    stream: TcpStream,
    /// What came and was not yet used.
    buffer: Vec<u8>,
}

impl Talk<'_> {
    async fn answer(mut self) -> Result<(), Broken> {
        while let Some(header) = self.header().await? {
            let length = self.length(header);
            if self.plan.room == Room::Announced {
                // As a first draft does it: the stranger says how much.
                let mut room: Vec<u8> = Vec::new();
                let bytes = usize::try_from(length).unwrap_or(0);
                room.try_reserve_exact(bytes).map_err(|_| Broken::Bad("no memory"))?;
            }
            if self.plan.longest.is_some_and(|longest| length > longest) {
                return Err(Broken::Bad("too long"));
            }
            if length == 0 && self.plan.empty == Empty::TheEnd {
                return Ok(());
            }
            let text = self.take(usize::try_from(length).unwrap_or(0)).await?;
            if self.plan.rest == Rest::Dropped {
                self.buffer.clear();
            }
            std::str::from_utf8(&text).map_err(|_| Broken::Bad("no text"))?;
            self.send(&text).await?;
        }
        Ok(())
    }

    /// The next header; none at the end.
    async fn header(&mut self) -> Result<Option<[u8; 4]>, Broken> {
        if self.buffer.is_empty() && self.more().await? == 0 {
            return Ok(None);
        }
        let bytes = self.take(4).await?;
        Ok(Some(<[u8; 4]>::try_from(bytes.as_slice()).map_err(|_| Broken::Bad("half a length"))?))
    }

    fn length(&self, header: [u8; 4]) -> i64 {
        match (self.plan.order, self.plan.signed) {
            (Order::Big, false) => u32::from_be_bytes(header).into(),
            (Order::Big, true) => i32::from_be_bytes(header).into(),
            (Order::Little, false) => u32::from_le_bytes(header).into(),
            (Order::Little, true) => i32::from_le_bytes(header).into(),
        }
    }

    /// So many bytes, or what one read gave.
    async fn take(&mut self, wanted: usize) -> Result<Vec<u8>, Broken> {
        let is_enough = |have: usize| have >= wanted;
        if self.plan.read == Read::Once && !is_enough(self.buffer.len()) && self.buffer.is_empty() {
            self.more().await?;
        }
        while self.plan.read == Read::Whole && !is_enough(self.buffer.len()) {
            if self.more().await? == 0 {
                return Err(Broken::Bad("half a message"));
            }
        }
        let rest = self.buffer.split_off(wanted.min(self.buffer.len()));
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn more(&mut self) -> Result<usize, Broken> {
        self.buffer.reserve(READ_AT_ONCE);
        Ok((&mut self.stream).take(READ_AT_ONCE_U64).read_buf(&mut self.buffer).await?)
    }

    async fn send(&mut self, text: &[u8]) -> Result<(), Broken> {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let header = match self.plan.order {
            Order::Big => length.to_be_bytes(),
            Order::Little => length.to_le_bytes(),
        };
        Ok(self.stream.write_all(&[&header, text].concat()).await?)
    }
}

const READ_AT_ONCE: usize = 4096;
const READ_AT_ONCE_U64: u64 = 4096;
