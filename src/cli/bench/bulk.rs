//! The load of much: bytes that flow one way or both, as fast as they are taken.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::backend::{ROOM, count};
use super::load::{Done, Load, Missed};
use super::report::{Measure, a_second};
use super::words::Wish;

/// Where the bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
    /// There and back again.
    Both,
}

impl Load {
    /// Bytes on so many connections, counted where they arrive, from when they all flow.
    pub(super) async fn bulk(&self, way: Way, connections: usize) -> Measure {
        let received = Arc::new(AtomicU64::new(0));
        let swallowed = self.backend.as_ref().map(|backend| backend.swallowed());
        let arrived = match (way, swallowed) {
            (Way::Up, Some(swallowed)) => swallowed,
            (Way::Up | Way::Down | Way::Both, _) => Arc::clone(&received),
        };
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (load, received) = (self.clone(), Arc::clone(&received));
            tasks.spawn(async move { load.pour(way, &received).await });
        }
        sleep(WARM_UP).await;
        let (before, already) = (self.clock.now(), arrived.load(Ordering::Relaxed));
        sleep(self.lasts).await;
        let spent = self.clock.since(before);
        let bytes = arrived.load(Ordering::Relaxed).saturating_sub(already);
        tasks.abort_all();
        let mut done = Done::default();
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Err(error)) => done.miss(Missed::Failed(error)),
                Ok(Ok(())) => done.miss(Missed::Failed(io::ErrorKind::UnexpectedEof.into())),
                Err(_) => {}
            }
        }
        let mut measure = Measure::of(connections, done, spent);
        measure.bytes_per_second = Some(a_second(bytes, measure.spent.milliseconds));
        measure
    }

    async fn pour(&self, way: Way, received: &AtomicU64) -> io::Result<()> {
        let mut stream = self.dial.enter().await?;
        if self.backend.is_some() {
            let wish = match way {
                Way::Up => Wish::Sink,
                Way::Down => Wish::Source,
                Way::Both => Wish::Echo,
            };
            stream.write_all(&self.words.opening(wish)).await?;
            stream.flush().await?;
        }
        match way {
            Way::Up => self.send(stream).await,
            Way::Down => receive(stream, received).await,
            Way::Both => {
                let (read, write) = split(stream);
                tokio::try_join!(self.send(write), receive(read, received)).map(drop)
            }
        }
    }

    async fn send(&self, mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
        let flood = self.words.flood();
        loop {
            stream.write_all(&flood).await?;
        }
    }
}

async fn receive(mut stream: impl AsyncRead + Unpin, received: &AtomicU64) -> io::Result<()> {
    let mut room = vec![0; ROOM];
    while let more @ 1.. = stream.read(&mut room).await? {
        count(received, more);
    }
    Ok(())
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "bulk up",
            Self::Down => "bulk down",
            Self::Both => "bulk both ways",
        })
    }
}

/// Until windows have grown and every connection is there.
const WARM_UP: Duration = Duration::from_millis(300);
