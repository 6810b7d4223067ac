//! 21, slow and steady: visitors who take a seat and do nothing with it, before and after the handshake.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use rustls::pki_types::ServerName;

use crate::lab::guest::Guest;
use crate::lab::papers::{Office, Shown, shown};
use crate::lab::program::Program;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::new()?;
    let server = school.server("school.test")?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("server-key.pem", server.key_pem())?;
    stage.give("badges-ca.pem", school.trust_pem())?;
    let port = stage.port("port")?;
    let guard = match stage.serve("server", &[HERE], port).await {
        Ok(guard) => guard,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let scene = Scene {
        stage,
        at: SocketAddr::new(HERE, port),
        ana: shown(&school.client("ana.school.test")?)?,
        mallory: shown(&school.client("mallory.school.test")?)?,
    };
    let seen = scene.play(&guard).await?;
    guard.kill().await;
    Ok(seen.judge())
}

struct Scene<'a> {
    stage: &'a Stage,
    at: SocketAddr,
    ana: Shown,
    mallory: Shown,
}

/// What Mallory does with a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// Connects and says nothing.
    Silent,
    /// Begins a handshake and stops.
    HalfHandshake,
    /// Shows a good badge and says nothing.
    NoMessage,
    /// Shows a good badge and says a byte now and then, of a message that never ends.
    Drip,
    /// Shows a good badge, says one message, and nothing more.
    OneMessage,
}

const TRICKS: [(Trick, usize); 5] = [
    (Trick::Silent, 5),
    (Trick::HalfHandshake, 5),
    (Trick::NoMessage, 6),
    (Trick::Drip, 6),
    (Trick::OneMessage, 6),
];

impl Trick {
    fn words(self) -> &'static str {
        match self {
            Self::Silent => "says nothing",
            Self::HalfHandshake => "stops in the handshake",
            Self::NoMessage => "shows a badge and says nothing",
            Self::Drip => "says a byte at a time",
            Self::OneMessage => "says one message and stays",
        }
    }

    fn is_stranger(self) -> bool {
        matches!(self, Self::Silent | Self::HalfHandshake)
    }
}

/// What was seen of it all.
struct Seen {
    /// How long Ana waited for her answer; none where she got none.
    ana: Option<Duration>,
    /// Who still sat there at the end, of how many.
    left: Vec<(Trick, usize, usize)>,
    /// Whether a slow line was served.
    slow: bool,
    /// How many of a class behind one address were served.
    class: usize,
    codes: Vec<&'static str>,
}

impl Scene<'_> {
    async fn play(&self, guard: &Program) -> Result<Seen, Stop> {
        let mut seats: Vec<(Trick, JoinHandle<()>)> = Vec::new();
        for (trick, count) in TRICKS {
            for _ in 0..count {
                seats.extend(self.sit(trick).await?.map(|task| (trick, task)));
            }
        }
        let limit = self.stage.patience(GONE);
        let taken = Instant::now();
        let ana = self.ana(limit).await?;
        while seats.iter().any(|(_, task)| !task.is_finished()) && taken.elapsed() < limit {
            sleep(POLL).await;
        }
        let left = TRICKS.map(|(trick, count)| {
            let sits =
                seats.iter().filter(|(own, task)| *own == trick && !task.is_finished()).count();
            (trick, sits, count)
        });
        for (_, task) in &seats {
            task.abort();
        }
        let (slow, class) = tokio::join!(self.slow_line(), self.class());
        let said = guard.complained();
        let is_told = |code: &&str| said.contains(&format!("code={code}"));
        let codes = CODES.into_iter().filter(is_told).collect();
        Ok(Seen { ana, left: left.to_vec(), slow: slow?, class: class?, codes })
    }

    /// Mallory takes a seat, where there is one; the task ends with it.
    async fn sit(&self, trick: Trick) -> Result<Option<JoinHandle<()>>, Stop> {
        let target = self.stage.aim(self.at)?;
        let limit = self.stage.patience(ANSWER);
        let Ok(mut stream) = target.connect(Some(MALLORY), limit).await else { return Ok(None) };
        if trick.is_stranger() {
            if trick == Trick::HalfHandshake {
                // The beginning of a record with a ClientHello (RFC 8446, 4.1.2), and no more.
                drop(stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await);
            }
            return Ok(Some(tokio::spawn(async move { until_end(&mut stream).await })));
        }
        let Ok(mut stream) = self.handshake(stream, &self.mallory).await else { return Ok(None) };
        Ok(Some(tokio::spawn(async move {
            match trick {
                Trick::Drip => drip(stream).await,
                Trick::OneMessage => {
                    drop(stream.write_all(b"hello\n").await);
                    until_end(&mut stream).await;
                }
                Trick::Silent | Trick::HalfHandshake | Trick::NoMessage => {
                    until_end(&mut stream).await;
                }
            }
        })))
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        badge: &Shown,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Stop> {
        let guest = Guest { from: None, tls: true, papers: Some(badge.clone()) };
        let connector = guest.connector().map_err(Stop::machine)?;
        let name = ServerName::IpAddress(self.at.ip().into());
        let shaking = timeout(self.stage.patience(ANSWER), connector.connect(name, stream));
        shaking.await.map_err(Stop::machine)?.map_err(Stop::machine)
    }

    /// Ana tries until she is served.
    async fn ana(&self, limit: Duration) -> Result<Option<Duration>, Stop> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let target = self.stage.aim(self.at)?;
            let guest = Guest { from: None, tls: true, papers: Some(self.ana.clone()) };
            let met = guest.ask(target, b"good morning\n", self.stage.patience(ANSWER)).await;
            if met.answer().is_some_and(|answer| answer.contains("good morning")) {
                return Ok(Some(begun.elapsed()));
            }
            sleep(AGAIN).await;
        }
        Ok(None)
    }

    /// Ben is on a train: his message takes more than a second.
    async fn slow_line(&self) -> Result<bool, Stop> {
        let target = self.stage.aim(self.at)?;
        let Ok(stream) = target.connect(None, self.stage.patience(ANSWER)).await else {
            return Ok(false);
        };
        let Ok(mut stream) = self.handshake(stream, &self.ana).await else { return Ok(false) };
        for _ in 0..PIECES {
            if stream.write_all(b"a piece of it, ").await.is_err() {
                return Ok(false);
            }
            drop(stream.flush().await);
            sleep(PIECE).await;
        }
        drop(stream.write_all(b"and the end\n").await);
        drop(stream.flush().await);
        let mut heard = Vec::new();
        let hearing = async {
            while !heard.ends_with(b"\n") && matches!(stream.read_buf(&mut heard).await, Ok(1..)) {}
        };
        drop(timeout(self.stage.patience(ANSWER), hearing).await);
        Ok(heard.ends_with(b"and the end\n"))
    }

    /// Eight pupils behind one address come in the same moment.
    async fn class(&self) -> Result<usize, Stop> {
        let mut lines = Vec::new();
        for _ in 0..CLASS {
            let target = self.stage.aim(self.at)?;
            lines.extend(target.connect(Some(SCHOOL), self.stage.patience(ANSWER)).await);
        }
        let calls = lines.into_iter().map(|line| async {
            let Ok(mut stream) = self.handshake(line, &self.ana).await else { return false };
            drop(stream.write_all(b"present\n").await);
            drop(stream.flush().await);
            let mut heard = [0; 8];
            let hearing = stream.read_exact(&mut heard);
            timeout(self.stage.patience(ANSWER), hearing).await.is_ok_and(|heard| heard.is_ok())
        });
        let served = futures_util::future::join_all(calls).await;
        Ok(served.into_iter().filter(|is| *is).count())
    }
}

/// Reads until the server ends it.
async fn until_end(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = [0; 256];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

async fn drip(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let saying = async {
        while writer.write_all(b"h").await.is_ok() && writer.flush().await.is_ok() {
            sleep(DRIP).await;
        }
    };
    tokio::select! {
        () = saying => {}
        () = until_end(&mut reader) => {}
    }
}

impl Seen {
    fn sits(&self, wanted: impl Fn(Trick) -> bool) -> usize {
        self.left.iter().filter(|(trick, ..)| wanted(*trick)).map(|(_, sits, _)| sits).sum()
    }

    fn judge(&self) -> Findings {
        let mut findings = Findings::new();
        let missed = if !self.slow {
            "a slow line was cut in the middle of its message".to_owned()
        } else if self.class < CLASS {
            format!("{} of {CLASS} pupils behind one address were served", self.class)
        } else {
            String::new()
        };
        findings.honest = Part::of(
            missed.is_empty(),
            "a slow line and a whole class behind one address were served",
            missed,
        );
        let sits = self.sits(|_| true);
        let who = self.left.iter().find(|(_, sits, _)| *sits > 0);
        findings.attack = Part::of(
            self.ana.is_some() && sits == 0,
            "Ana was served, and of Mallory's connections none was left in the end",
            match (self.ana, who) {
                (None, _) => "Ana found no seat for as long as Mallory sat there".to_owned(),
                (Some(_), Some((trick, sits, of))) => {
                    format!("{sits} of {of} still sit there, of the kind that {}", trick.words())
                }
                (Some(_), None) => String::new(),
            },
        );
        if findings.attack.is_held() {
            findings.gate = Part::of(
                self.codes.len() == CODES.len(),
                "each kind ended at a deadline of its own room, and the log says so",
                format!("the log has only {}", self.codes.join(", ")),
            );
        }
        for (trick, sits, of) in &self.left {
            findings.saw(format!(
                "Mallory {}: {sits} of {of} connections were still open in the end.",
                trick.words()
            ));
            let gate = if trick.is_stranger() { Gate::Handshake } else { Gate::Frame };
            let stopped = (*sits == 0).then_some((gate, "deadline"));
            let end = if *sits == 0 { "is sent away" } else { "keeps the seat" };
            let walk = Walk::new("Mallory", MALLORY, stopped).hostile();
            findings.walks.push(walk.ending(format!("{}: {end}", trick.words())));
        }
        let stopped = self.ana.is_none().then_some((Gate::Accept, "no seat"));
        let waited =
            self.ana.map(|waited| format!("has an answer after {} ms", waited.as_millis()));
        let walk = Walk::new("Ana", HERE, stopped);
        findings.walks.push(walk.ending(waited.unwrap_or_else(|| "has no answer".to_owned())));
        if let Some(code) = self.recognised() {
            findings.looks_like(code);
        }
        findings
    }

    fn recognised(&self) -> Option<&'static str> {
        let strangers = self.sits(Trick::is_stranger);
        let members = self.sits(|trick| !trick.is_stranger());
        let after_one = self.sits(|trick| trick == Trick::OneMessage);
        if strangers == 0 && members == 0 {
            return if !self.slow {
                Some("M21-HARSH")
            } else if self.class < CLASS {
                Some("M21-NAT")
            } else {
                None
            };
        }
        if self.ana.is_some() && strangers > 0 && members > 0 {
            Some("M21-MORE-SEATS")
        } else if strangers > 0 && members == 0 {
            Some("M21-MEMBERS-ONLY")
        } else if strangers == 0 && members == after_one {
            Some("M21-FIRST-ONLY")
        } else if strangers == 0 && after_one == 0 {
            Some("M21-IDLE-ONLY")
        } else if strangers == 0 {
            Some("M21-TLS-ONLY")
        } else {
            None
        }
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where Mallory sits; his connections must not take the share of anybody else.
const MALLORY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SCHOOL: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// The codes of the deadlines that end the five kinds.
const CODES: [&str; 3] = ["handshake.timeout", "frame.first", "frame.idle"];
const CLASS: usize = 8;
/// By then every seat that is not used must be free again; the task says three seconds, and no machine is given less
/// than twice this.
const GONE: Duration = Duration::from_millis(1500);
const ANSWER: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(20);
const DRIP: Duration = Duration::from_millis(150);
const PIECES: u8 = 12;
const PIECE: Duration = Duration::from_millis(100);
