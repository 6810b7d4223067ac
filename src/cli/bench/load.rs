//! The loads: each is bounded in connections and in time.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use doorward::client::{Client, ClientError, Connection};
use doorward::frame::FrameKind;
use hdrhistogram::Histogram;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::process::{Clock, microseconds};
use super::report::{Measure, Percentiles};
use super::{Failure, message};

/// A server, and how it is loaded.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) client: Client,
    pub(super) at: SocketAddr,
    pub(super) kind: FrameKind,
    pub(super) lasts: Duration,
    pub(super) clock: Clock,
}

/// What one task has done.
#[derive(Clone, Debug, Default)]
struct Done {
    times: Vec<Duration>,
    failed: u64,
    unanswered: u64,
}

impl Load {
    /// One handshake and one echo, so that what cannot work is said at once.
    pub(super) async fn try_once(&self) -> Result<(), Failure> {
        let connection = self.client.connect().await?;
        Echo::on(connection, self.kind, SMALL).once().await.map(drop).map_err(Failure::NoEcho)
    }

    /// Full handshakes, each on a connection of its own, until the server has sent a message back: in
    /// TLS 1.3 only that tells the client that its certificate was accepted.
    pub(super) async fn handshakes(&self, connections: usize) -> Measure {
        let load = self.clone();
        self.repeat("handshake and echo", connections, move || {
            let load = load.clone();
            async move { load.enter().await.map(drop).map_err(|_| Missed::Failed) }
        })
        .await
    }

    async fn enter(&self) -> Result<(), ClientError> {
        Echo::on(self.client.connect().await?, self.kind, SMALL).once().await
    }

    /// Small messages, one at a time on each connection.
    pub(super) async fn echo(&self, connections: usize) -> Measure {
        self.exchange("echo of 32 bytes", connections, SMALL).await
    }

    /// Large messages, one at a time on each connection.
    pub(super) async fn bulk(&self, connections: usize) -> Measure {
        let size = u64::try_from(message(self.kind, LARGE).len()).unwrap_or(0);
        self.exchange("bulk of 60 KiB", connections, LARGE).await.of_bytes(size)
    }

    async fn exchange(&self, what: &str, connections: usize, size: usize) -> Measure {
        let mut ready = Vec::new();
        let mut failed = 0_u64;
        for _ in 0..connections {
            match self.client.connect().await {
                Ok(connection) => ready.push(Echo::on(connection, self.kind, size)),
                Err(_) => failed = failed.saturating_add(1),
            }
        }
        let before = self.clock.now();
        let until = self.until();
        let mut tasks = JoinSet::new();
        for mut echo in ready {
            tasks.spawn(async move {
                let mut done = Done::default();
                while Instant::now() < until {
                    let began = Instant::now();
                    if echo.once().await.is_err() {
                        done.failed = done.failed.saturating_add(1);
                        break;
                    }
                    done.times.push(began.elapsed());
                }
                done
            });
        }
        let mut done = together(tasks).await;
        done.failed = done.failed.saturating_add(failed);
        done.measure(what, connections, self.clock.since(before))
    }

    /// Connections that say nothing after one echo, and what each weighs in the server.
    pub(super) async fn idle(&self, count: usize) -> Measure {
        let empty = self.clock.memory();
        let before = self.clock.now();
        let mut kept = Vec::new();
        let mut done = Done::default();
        for _ in 0..count {
            let began = Instant::now();
            let Ok(connection) = self.client.connect().await else {
                done.failed = done.failed.saturating_add(1);
                continue;
            };
            let mut echo = Echo::on(connection, self.kind, SMALL);
            match echo.once().await {
                Ok(()) => done.times.push(began.elapsed()),
                Err(_) => done.failed = done.failed.saturating_add(1),
            }
            kept.push(echo);
        }
        let spent = self.clock.since(before);
        let full = self.clock.memory();
        let grown = full.zip(empty).map(|(full, empty)| full.saturating_sub(empty));
        let number = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let mut measure = done.measure("idle connections", count, spent);
        measure.bytes_each = grown.and_then(|grown| grown.checked_div(number));
        measure
    }

    /// Connections without TLS from an address, closed as soon as they are there.
    pub(super) async fn flood(&self, from: IpAddr, connections: usize) -> Measure {
        let at = self.at;
        let what = format!("flood from {from}");
        self.repeat(&what, connections, move || async move {
            match timeout(NO_ANSWER, knock(from, at)).await {
                Ok(Ok(stream)) => {
                    // Without a wait in the system for each, which would run out of ports.
                    drop(stream.set_zero_linger());
                    Ok(())
                }
                Ok(Err(_)) => Err(Missed::Failed),
                Err(_) => Err(Missed::Unanswered),
            }
        })
        .await
    }

    async fn repeat<F>(
        &self,
        what: &str,
        connections: usize,
        one: impl Fn() -> F + Clone + Send + 'static,
    ) -> Measure
    where
        F: Future<Output = Result<(), Missed>> + Send,
    {
        let before = self.clock.now();
        let until = self.until();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let one = one.clone();
            tasks.spawn(async move {
                let mut done = Done::default();
                while Instant::now() < until && done.failed < MOST_FAILURES {
                    let began = Instant::now();
                    match one().await {
                        Ok(()) => done.times.push(began.elapsed()),
                        Err(Missed::Failed) => done.failed = done.failed.saturating_add(1),
                        Err(Missed::Unanswered) => {
                            done.unanswered = done.unanswered.saturating_add(1);
                        }
                    }
                }
                done
            });
        }
        together(tasks).await.measure(what, connections, self.clock.since(before))
    }

    fn until(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.lasts).unwrap_or(now)
    }
}

/// Why something does not count.
#[derive(Clone, Copy, Debug)]
enum Missed {
    Failed,
    Unanswered,
}

impl Done {
    fn measure(self, what: &str, connections: usize, spent: super::process::Spent) -> Measure {
        let number = u64::try_from(self.times.len()).unwrap_or(u64::MAX);
        let mut measure = Measure::of(what, connections, number, spent);
        (measure.failed, measure.unanswered) = (self.failed, self.unanswered);
        let histogram = Histogram::<u64>::new_with_bounds(1, LONGEST, 3);
        measure.microseconds = histogram.ok().and_then(|mut histogram| {
            self.times.into_iter().for_each(|time| histogram.saturating_record(microseconds(time)));
            Percentiles::of(&histogram)
        });
        measure
    }
}

async fn together(mut tasks: JoinSet<Done>) -> Done {
    let mut all = Done::default();
    while let Some(ended) = tasks.join_next().await {
        let Ok(done) = ended else { continue };
        all.times.extend(done.times);
        all.failed = all.failed.saturating_add(done.failed);
        all.unanswered = all.unanswered.saturating_add(done.unanswered);
    }
    all
}

async fn knock(from: IpAddr, at: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(at).await
}

/// A connection, and what is said on it.
struct Echo {
    connection: Connection,
    said: Vec<u8>,
}

impl Echo {
    fn on(connection: Connection, kind: FrameKind, size: usize) -> Self {
        Self { connection, said: message(kind, size) }
    }

    /// Says it, and waits until as much came back; bytes without frames come in pieces.
    async fn once(&mut self) -> Result<(), ClientError> {
        let mut heard = self.connection.ask(&self.said).await?.payload().len();
        while heard < self.said.len() {
            let Some(more) = self.connection.reply().await? else { break };
            heard = heard.saturating_add(more.payload().len());
        }
        Ok(())
    }
}

/// As the measurements of other servers have it.
const SMALL: usize = 32;
/// Below the 64 KiB that a service allows unless it says otherwise.
const LARGE: usize = 60 << 10;
/// A loopback or a LAN answers in far less; a filtered packet is never answered.
const NO_ANSWER: Duration = Duration::from_millis(200);
/// A task whose every try fails stops, and does not spin for the rest of the time.
const MOST_FAILURES: u64 = 100;
/// No time is longer than a minute, in microseconds: the deadlines of the client are far shorter.
const LONGEST: u64 = 60_000_000;
