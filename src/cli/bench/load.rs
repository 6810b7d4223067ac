//! The loads that wait for answers: handshakes, echoes and idle connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::dial::{DEADLINE, Dial, Stream, within};
use super::process::{Clock, microseconds};
use super::report::Measure;
use super::words::{Wish, Words};

/// A server, and how it is loaded. Each load is bounded in connections and in time.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) dial: Arc<Dial>,
    pub(super) words: Words,
    pub(super) lasts: Duration,
    pub(super) clock: Clock,
    /// None where the server itself sends everything back.
    pub(super) backend: Option<Arc<Backend>>,
}

/// What was done, and what was not.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// How long each took, in microseconds.
    pub(super) times: Vec<u32>,
    pub(super) failed: u64,
    pub(super) unanswered: u64,
    pub(super) first_failure: Option<io::Error>,
}

/// Why something does not count.
#[derive(Debug)]
pub(super) enum Missed {
    /// It went wrong.
    Failed(io::Error),
    /// Nobody answered.
    Unanswered,
}

impl Load {
    /// One handshake and one echo, so that what cannot work is said at once.
    pub(super) async fn try_once(&self) -> io::Result<()> {
        self.enter().await.map(drop)
    }

    /// Full handshakes, each on a connection of its own, until the server has sent a message back: in
    /// TLS 1.3 only that tells the client that its certificate was accepted.
    pub(super) async fn handshakes(&self, at_once: usize) -> Measure {
        let one = |load: Self| async move {
            let mut talk = load.enter().await.map_err(Missed::Failed)?;
            talk.stream.shutdown().await.map_err(Missed::Failed)
        };
        self.repeat(at_once, u64::MAX, one).await
    }

    /// The same without a certificate, up to the server's refusal: what is missing is what the server
    /// does with a certificate, and with a member.
    pub(super) async fn refused_handshakes(&self, at_once: usize) -> Measure {
        let one = |load: Self| async move {
            let Ok(mut stream) = load.dial.enter_unknown().await else { return Ok(()) };
            match within(DEADLINE, stream.read_u8()).await {
                Ok(_) => Err(Missed::Failed(io::Error::other("nobody was refused"))),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Missed::Failed(error)),
                Err(_) => Ok(()),
            }
        };
        self.repeat(at_once, u64::MAX, one).await
    }

    /// Small messages, one at a time on each connection.
    pub(super) async fn echo(&self, at_once: usize) -> Measure {
        let (ready, mut done) = self.enter_all(at_once, 1).await;
        let before = self.clock.now();
        let until = self.until();
        let mut tasks = JoinSet::new();
        for mut talk in ready {
            tasks.spawn(async move {
                let mut done = Done::default();
                while Instant::now() < until {
                    let began = Instant::now();
                    if let Err(error) = talk.once().await {
                        done.miss(Missed::Failed(error));
                        break;
                    }
                    done.add(began.elapsed());
                }
                done
            });
        }
        done.merge_all(tasks).await;
        Measure::of(at_once, done, self.clock.since(before))
    }

    /// Connections that say nothing after one echo, and what each weighs in the server.
    pub(super) async fn idle(&self, count: usize) -> Measure {
        let empty = self.clock.memory();
        let before = self.clock.now();
        let (kept, mut done) = self.enter_all(count, AT_ONCE).await;
        let spent = self.clock.since(before);
        let full = self.clock.memory();
        let grown = full.zip(empty).map(|(full, empty)| full.saturating_sub(empty));
        let number = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        done.times.extend(kept.iter().map(|talk| talk.entered));
        let mut measure = Measure::of(count, done, spent);
        measure.bytes_each = grown.and_then(|grown| grown.checked_div(number));
        measure
    }

    /// A connection on which one small message came back.
    async fn enter(&self) -> io::Result<Talk> {
        let began = Instant::now();
        let stream = self.dial.enter().await?;
        let small = self.words.small();
        let mut talk = Talk { stream, heard: vec![0; small.len()], said: small, entered: 0 };
        if self.backend.is_some() {
            let both = [self.words.opening(Wish::Echo), talk.said.clone()].concat();
            let alone = std::mem::replace(&mut talk.said, both);
            talk.send().await?;
            talk.said = alone;
            talk.hear().await?;
        } else {
            talk.once().await?;
        }
        talk.entered = time(began.elapsed());
        Ok(talk)
    }

    /// So many of them; `at_once` are begun before the first is there.
    async fn enter_all(&self, count: usize, at_once: usize) -> (Vec<Talk>, Done) {
        let (mut ready, mut done) = (Vec::new(), Done::default());
        let mut tasks = JoinSet::new();
        let mut begun: usize = 0;
        loop {
            while begun < count && tasks.len() < at_once && done.failed < MOST_REFUSED {
                let load = self.clone();
                tasks.spawn(async move { load.enter().await });
                begun = begun.saturating_add(1);
            }
            match tasks.join_next().await {
                None => return (ready, done),
                Some(Ok(Ok(talk))) => ready.push(talk),
                Some(Ok(Err(error))) => done.miss(Missed::Failed(error)),
                Some(Err(panic)) => done.miss(Missed::Failed(panic.into())),
            }
        }
    }

    /// Does one thing again and again, in so many tasks and at most so often in each.
    pub(super) async fn repeat<F>(
        &self,
        at_once: usize,
        most: u64,
        one: impl Fn(Self) -> F + Clone + Send + 'static,
    ) -> Measure
    where
        F: Future<Output = Result<(), Missed>> + Send,
    {
        let before = self.clock.now();
        let until = self.until();
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            let (load, one) = (self.clone(), one.clone());
            tasks.spawn(async move {
                let mut done = Done::default();
                while Instant::now() < until && done.failed < MOST_FAILURES && done.tries() < most {
                    let began = Instant::now();
                    match one(load.clone()).await {
                        Ok(()) => done.add(began.elapsed()),
                        Err(missed) => done.miss(missed),
                    }
                }
                done
            });
        }
        let mut done = Done::default();
        done.merge_all(tasks).await;
        Measure::of(at_once, done, self.clock.since(before))
    }

    fn until(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.lasts).unwrap_or(now)
    }
}

impl Done {
    pub(super) fn miss(&mut self, missed: Missed) {
        match missed {
            Missed::Failed(error) => {
                self.failed = self.failed.saturating_add(1);
                self.first_failure.get_or_insert(error);
            }
            Missed::Unanswered => self.unanswered = self.unanswered.saturating_add(1),
        }
    }

    fn add(&mut self, took: Duration) {
        self.times.push(time(took));
    }

    fn tries(&self) -> u64 {
        let answered = u64::try_from(self.times.len()).unwrap_or(u64::MAX);
        answered.saturating_add(self.failed).saturating_add(self.unanswered)
    }

    async fn merge_all(&mut self, mut tasks: JoinSet<Self>) {
        while let Some(ended) = tasks.join_next().await {
            let Ok(done) = ended else { continue };
            self.times.extend(done.times);
            self.failed = self.failed.saturating_add(done.failed);
            self.unanswered = self.unanswered.saturating_add(done.unanswered);
            self.first_failure = self.first_failure.take().or(done.first_failure);
        }
    }
}

/// A connection, and what is said on it.
struct Talk {
    stream: Stream,
    said: Vec<u8>,
    heard: Vec<u8>,
    /// How long it took to come here.
    entered: u32,
}

impl Talk {
    async fn once(&mut self) -> io::Result<()> {
        self.send().await?;
        self.hear().await
    }

    async fn send(&mut self) -> io::Result<()> {
        within(DEADLINE, async {
            self.stream.write_all(&self.said).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn hear(&mut self) -> io::Result<()> {
        within(DEADLINE, self.stream.read_exact(&mut self.heard)).await?;
        if self.heard == self.said {
            return Ok(());
        }
        Err(io::Error::other("something else than what was said came back"))
    }
}

fn time(took: Duration) -> u32 {
    u32::try_from(microseconds(took)).unwrap_or(u32::MAX)
}

/// A task whose every try fails stops, and does not spin for the rest of the time.
const MOST_FAILURES: u64 = 100;
/// Each may take its whole deadline, and a server that keeps failing says nothing new.
const MOST_REFUSED: u64 = 4;
/// Fewer than a source may have as strangers by default.
const AT_ONCE: usize = 8;
