//! 06, try again, but politely: a server that fails in five ways, and a client that must not make it worse.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let result = format!("RESULT {}", stage.secret("result"));
    let scene = Scene { stage, result };
    let (comes_back, dead, twin, denied, hangs) = tokio::join!(
        scene.play("comes-back", Manner::FailsFirst(3)),
        scene.play("dead", Manner::Fails),
        scene.play("twin", Manner::Fails),
        scene.play("denied", Manner::Denies),
        scene.play("hangs", Manner::HangsFirst)
    );
    let plays =
        Plays { comes_back: comes_back?, dead: [dead?, twin?], denied: denied?, hangs: hangs? };
    Ok(plays.judge())
}

struct Scene<'a> {
    stage: &'a Stage,
    result: String,
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// So many visitors are sent away without a word.
    FailsFirst(usize),
    Fails,
    Denies,
    /// The first visitor gets no answer, and is held.
    HangsFirst,
}

impl Manner {
    /// How long a client that does as the task says is busy with it.
    fn longest(self) -> Duration {
        match self {
            Self::Fails => LONGEST,
            Self::FailsFirst(_) | Self::Denies | Self::HangsFirst => SHORT,
        }
    }
}

/// What came of one start of the learner's client.
struct Play {
    /// When each visitor came, since the first.
    arrivals: Vec<Duration>,
    /// Whether the client printed the result.
    has_result: bool,
    /// Its exit code; none where it had to be stopped.
    code: Option<i32>,
    complained: bool,
    /// Lines of JSON that it wrote down.
    logged: usize,
}

struct Plays {
    comes_back: Play,
    dead: [Play; 2],
    denied: Play,
    hangs: Play,
}

impl Scene<'_> {
    async fn play(&self, name: &str, manner: Manner) -> Result<Play, Stop> {
        let server = Server::open(self.stage, manner, &self.result).await?;
        let log = format!("{name}.jsonl");
        let values = [
            ("host", HERE.to_string()),
            ("port", server.at.port().to_string()),
            ("log", log.clone()),
        ];
        let mut client = self.stage.start("client", &values)?;
        client.nothing_more();
        // A client that comes again and again is stopped as soon as that is clear. Its time begins when it is there:
        // a language may take a while to start.
        let (begun, limit) = (Instant::now(), self.stage.patience(manner.longest()));
        let start = self.stage.patience(START);
        let status = loop {
            if let Some(status) = client.ended(POLL).await {
                break Some(status);
            }
            let is_late = match server.first() {
                Some(first) => first.elapsed() > limit,
                None => begun.elapsed() > start,
            };
            if is_late || server.arrivals().len() > CLEARLY_TOO_MANY {
                break None;
            }
        };
        let (said, complained) = (client.said(), client.complained());
        client.kill().await;
        let text = self.stage.read(&log).unwrap_or_default();
        let is_json = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        Ok(Play {
            arrivals: server.arrivals(),
            has_result: said.contains(&self.result),
            code: status.map(|status| status.code().unwrap_or(-1)),
            complained: !complained.trim().is_empty(),
            logged: text.lines().filter(is_json).count(),
        })
    }
}

/// The results server, and when each visitor came to it.
struct Server {
    at: SocketAddr,
    arrivals: Arc<Mutex<Vec<Instant>>>,
    task: AbortHandle,
}

impl Server {
    async fn open(stage: &Stage, manner: Manner, result: &str) -> Result<Self, Stop> {
        let listener = TcpListener::bind((HERE, 0)).await.map_err(Stop::machine)?;
        let at = listener.local_addr().map_err(Stop::machine)?;
        stage.opened(at.port());
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let (kept, result) = (Arc::clone(&arrivals), result.to_owned());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Instant::now());
                    all.len()
                };
                let answer = match manner {
                    Manner::Denies => "DENIED wrong password".to_owned(),
                    Manner::FailsFirst(count) if number <= count => continue,
                    Manner::Fails => continue,
                    Manner::HangsFirst if number == 1 => {
                        tokio::spawn(hold(stream));
                        continue;
                    }
                    Manner::FailsFirst(_) | Manner::HangsFirst => result.clone(),
                };
                tokio::spawn(reply(stream, answer));
            }
        });
        Ok(Self { at, arrivals, task: task.abort_handle() })
    }

    /// When the first visitor came.
    fn first(&self) -> Option<Instant> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).first().copied()
    }

    fn arrivals(&self) -> Vec<Duration> {
        let first = self.first();
        let all = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|at| Some(at.duration_since(first?))).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reply(stream: TcpStream, answer: String) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    drop(stream.read_until(b'\n', &mut line).await);
    drop(stream.write_all(format!("{answer}\n").as_bytes()).await);
    drop(stream.shutdown().await);
}

async fn hold(stream: TcpStream) {
    tokio::time::sleep(HELD).await;
    drop(stream);
}

impl Play {
    /// The waits between its attempts.
    fn gaps(&self) -> Vec<Duration> {
        let next = self.arrivals.iter().skip(1);
        next.zip(&self.arrivals).map(|(later, earlier)| later.saturating_sub(*earlier)).collect()
    }
}

impl Plays {
    fn judge(&self) -> Findings {
        let mut findings = Findings::new();
        let missed = if !self.comes_back.has_result {
            "your client got no result from a server that came back after three attempts"
        } else if !self.hangs.has_result {
            "your client got no result where the first attempt was never answered"
        } else {
            ""
        };
        findings.honest = Part::of(
            missed.is_empty(),
            "the result came, from a server that was back and from one that had hung",
            missed,
        );
        let rude = self.rude();
        findings.attack = Part::of(
            rude.is_none(),
            "a server that is down is left time to come up",
            rude.map_or("", |(_, why)| why),
        );
        if findings.attack.is_held() {
            let untold = self.untold();
            findings.gate = Part::of(
                untold.is_none(),
                "it gave up after six attempts, wrote each down, and said so",
                untold.map_or("", |(_, why)| why),
            );
        }
        for (what, play) in self.all() {
            findings.saw(format!("{what}: {}.", told(play)));
            let stopped = (!play.has_result).then_some((Gate::Accept, "no result"));
            let walk = Walk::new("Ana", HERE, stopped).through(&ROOMS);
            findings.walks.push(walk.ending(format!("{} attempts", play.arrivals.len())));
        }
        if let Some((code, _)) = rude {
            findings.looks_like(code);
        } else if self.hangs.code.is_none() {
            findings.looks_like("M06-NOTIMEOUT");
        } else if let Some((code, _)) = self.untold() {
            findings.looks_like(code);
        }
        findings
    }

    fn all(&self) -> [(&'static str, &Play); 5] {
        let [dead, twin] = &self.dead;
        [
            ("A server that was back after three attempts", &self.comes_back),
            ("A server that was down", dead),
            ("The same, for a second client", twin),
            ("A server that said no", &self.denied),
            ("A server that hung at first", &self.hangs),
        ]
    }

    /// What makes it worse for a server that is down, the most telling first.
    fn rude(&self) -> Option<(&'static str, &'static str)> {
        let [one, other] = &self.dead;
        let gaps: Vec<_> = [one.gaps(), other.gaps()].concat();
        // A busy machine makes waits longer, never shorter: only what is too short is held against anybody.
        let at_least = |gaps: &[Duration], share: u32| {
            (0..).zip(gaps).all(|(number, gap)| {
                let doubled = 1_u32.checked_shl(number).unwrap_or(u32::MAX);
                let whole = BASE.saturating_mul(doubled).min(CAP);
                // Compared twice over, since half of it is what must be waited; a timer may round down.
                gap.saturating_add(ROUNDED).saturating_mul(2) >= whole.saturating_mul(share)
            })
        };
        let gives_up = self.dead.iter().all(|play| play.arrivals.len() <= MOST_ATTEMPTS);
        if gaps.iter().filter(|gap| **gap < SHORTEST).count().saturating_mul(2) > gaps.len() {
            Some(("M06-HAMMER", "your client came again at once, and again"))
        } else if !gives_up {
            Some(("M06-FOREVER", "your client never gives up"))
        } else if self.denied.arrivals.len() > 1 {
            Some(("M06-RETRY-DENIED", "your client asked again after it had been told no"))
        } else if !self.dead.iter().all(|play| at_least(&play.gaps(), 1)) {
            Some((
                "M06-LINEAR",
                "the waits did not double: 50, 100, 200, 400, 800 ms, each at least by half",
            ))
        } else if gaps.len() > 4 && self.dead.iter().all(|play| at_least(&play.gaps(), 2)) {
            Some((
                "M06-NOJITTER",
                "no wait was shorter than the whole: a thousand of you come in step",
            ))
        } else {
            None
        }
    }

    /// What a user of it does not get to know.
    fn untold(&self) -> Option<(&'static str, &'static str)> {
        let mut failed = self.dead.iter().chain([&self.denied]);
        if failed.any(|play| play.code.is_none_or(|code| code == 0) || !play.complained) {
            Some((
                "M06-SILENT",
                "your client gave up without a word on standard error, or with code 0",
            ))
        } else if self.dead.iter().any(|play| play.arrivals.len() < MOST_ATTEMPTS) {
            Some(("M06-TOO-SOON", "your client gave up before its sixth attempt"))
        } else if self.all().iter().any(|(_, play)| play.logged != play.arrivals.len()) {
            Some(("M06-LOGLIE", "the attempts that were written down are not those that came"))
        } else {
            None
        }
    }
}

fn told(play: &Play) -> String {
    let gaps: Vec<_> = play.gaps().iter().map(|gap| gap.as_millis().to_string()).collect();
    let shown = gaps.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    let waits = if gaps.is_empty() { String::new() } else { format!(" after {shown} ms") };
    let end = match play.code {
        None => "it had to be stopped".to_owned(),
        Some(code) => format!("it ended with code {code}"),
    };
    format!("{} attempts{waits}, {} written down, and {end}", play.arrivals.len(), play.logged)
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Accept, Gate::Service];
const MOST_ATTEMPTS: usize = 6;
const CLEARLY_TOO_MANY: usize = 24;
const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_millis(800);
/// No wait of a polite client is as short.
const SHORTEST: Duration = Duration::from_millis(20);
const ROUNDED: Duration = Duration::from_millis(2);
/// Six attempts and five waits take two seconds at most.
const LONGEST: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_millis(1200);
const START: Duration = Duration::from_secs(5);
/// Longer than any check.
const HELD: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
