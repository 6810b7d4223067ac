//! 19, four billion bytes, please: a length that a stranger says, and everything else that is wrong with a first draft.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::lab::program::Program;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let port = stage.port("port")?;
    let server = match stage.serve("server", &[HERE], port).await {
        Ok(server) => server,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let mut scene = Scene { stage, at: SocketAddr::new(HERE, port), server, fell: None };
    let legal = scene.legal().await?;
    let hostile = scene.hostile().await?;
    let findings = scene.judge(&legal, &hostile).await?;
    scene.server.kill().await;
    Ok(findings)
}

struct Scene<'a> {
    stage: &'a Stage,
    at: SocketAddr,
    server: Program,
    /// After which conversation the honest client was served no more.
    fell: Option<&'static str>,
}

/// What came of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    /// Everything that was said came back, and nothing else.
    Answered,
    /// Something else came back.
    Otherwise,
    /// The connection was ended without an answer.
    Closed,
    /// Nobody listens any more.
    Nobody,
    /// It was still open after the time that the task allows, without an answer.
    Waiting,
}

/// A conversation, and what came of it.
struct Seen {
    what: &'static str,
    came: Came,
    /// How much address space the server asked for meanwhile, in MiB; none where that cannot be seen.
    grown: Option<u64>,
}

impl Scene<'_> {
    /// Messages that every server of this protocol must send back.
    async fn legal(&mut self) -> Result<Vec<Seen>, Stop> {
        let mut dice = self.stage.dice("legal");
        let word = dice.word(8);
        let split: Vec<Vec<u8>> =
            framed(word.as_bytes()).into_iter().map(|byte| vec![byte]).collect();
        let (one, two) = (dice.word(9), dice.word(7));
        let glued = vec![[framed(one.as_bytes()), framed(two.as_bytes())].concat()];
        let many = vec![framed(b"x").repeat(MANY)];
        let longest = "m".repeat(LONGEST);
        let cases: [(&str, Vec<Vec<u8>>); 6] = [
            (ONE, vec![framed(b"x")]),
            (EMPTY, vec![framed(b"")]),
            (MOST, vec![framed(longest.as_bytes())]),
            (SPLIT, split),
            (GLUED, glued),
            ("a thousand messages of one byte", many),
        ];
        let mut seen = Vec::new();
        for (what, pieces) in cases {
            let expected = pieces.concat();
            seen.push(self.converse(what, &pieces, Some(&expected)).await?);
        }
        Ok(seen)
    }

    /// Messages that no server may take.
    async fn hostile(&mut self) -> Result<Vec<Seen>, Stop> {
        let over = u32::try_from(LONGEST).unwrap_or(0).saturating_add(1);
        let head = |length: u32| vec![length.to_be_bytes().to_vec()];
        let half = [&over.saturating_sub(1).to_be_bytes()[..], b"ten bytes."].concat();
        let cases: [(&str, Vec<Vec<u8>>, End); 7] = [
            (GREEDY, head(1 << 30), End::Open),
            (OVER, head(over), End::Open),
            (SIGN, head(1 << 31), End::Open),
            ("a length of 4294967295", head(u32::MAX), End::Open),
            ("half a length, then the end", vec![vec![0, 0]], End::Half),
            ("the length of a whole message, ten bytes of it, then the end", vec![half], End::Half),
            ("bytes that are no text", vec![framed(b"\xff\xfe\xc0")], End::Open),
        ];
        let mut seen = Vec::new();
        for (what, pieces, end) in cases {
            let came = self.converse_until(what, &pieces, None, end).await?;
            seen.push(came);
        }
        Ok(seen)
    }

    async fn converse(
        &mut self,
        what: &'static str,
        pieces: &[Vec<u8>],
        expected: Option<&[u8]>,
    ) -> Result<Seen, Stop> {
        self.converse_until(what, pieces, expected, End::Half).await
    }

    /// One conversation, and the honest client directly afterwards.
    async fn converse_until(
        &mut self,
        what: &'static str,
        pieces: &[Vec<u8>],
        expected: Option<&[u8]>,
        end: End,
    ) -> Result<Seen, Stop> {
        let before = self.server.most_memory();
        let came = self.talk(pieces, expected, end).await?;
        let grown =
            self.server.most_memory().zip(before).map(|(now, before)| now.saturating_sub(before));
        if self.fell.is_none() && self.honest(what).await? != Came::Answered {
            self.fell = Some(what);
        }
        Ok(Seen { what, came, grown })
    }

    /// What Ana says, between two of Mallory's messages.
    async fn honest(&self, purpose: &str) -> Result<Came, Stop> {
        let said = framed(self.stage.secret(purpose).as_bytes());
        self.talk(std::slice::from_ref(&said), Some(&said), End::Half).await
    }

    async fn talk(
        &self,
        pieces: &[Vec<u8>],
        expected: Option<&[u8]>,
        end: End,
    ) -> Result<Came, Stop> {
        let limit = self.stage.patience(ANSWER);
        let Ok(mut stream) = self.stage.aim(self.at)?.connect(None, limit).await else {
            return Ok(Came::Nobody);
        };
        // Each piece is a segment of its own.
        drop(stream.set_nodelay(true));
        let mut heard = Vec::new();
        let talking = exchange(&mut stream, &mut heard, pieces, expected, end);
        let is_over = timeout(limit, talking).await.is_ok();
        Ok(match expected {
            Some(expected) if heard == expected => Came::Answered,
            Some(_) | None if !heard.is_empty() => Came::Otherwise,
            Some(_) | None if is_over => Came::Closed,
            Some(_) | None => Came::Waiting,
        })
    }

    async fn judge(&self, legal: &[Seen], hostile: &[Seen]) -> Result<Findings, Stop> {
        let mut findings = Findings::new();
        let unanswered: Vec<_> = legal.iter().filter(|one| one.came != Came::Answered).collect();
        findings.honest = Part::of(
            unanswered.is_empty(),
            format!("all {} kinds of legal messages came back", legal.len()),
            unanswered
                .first()
                .map_or_else(String::new, |one| format!("{} did not come back", one.what)),
        );
        let greedy = hostile.iter().find(|one| one.grown.is_some_and(|grown| grown > MOST_GROWTH));
        let taken = hostile.iter().find(|one| one.came == Came::Otherwise);
        for one in legal.iter().chain(hostile) {
            findings.saw(told(one));
            findings.walks.push(way(one, legal.iter().any(|own| own.what == one.what)));
        }
        findings.attack = Part::of(
            greedy.is_none() && taken.is_none() && self.fell.is_none(),
            "no message of Mallory's took memory, an answer, or Ana's place",
            match (self.fell, greedy, taken) {
                (Some(what), ..) => format!("after {what} Ana was served no more"),
                (None, Some(one), _) => {
                    format!("four bytes made your server ask for {} MiB", one.grown.unwrap_or(0))
                }
                (None, None, Some(one)) => format!("{} was answered", one.what),
                (None, None, None) => String::new(),
            },
        );
        if findings.attack.is_held() {
            let open = hostile.iter().find(|one| one.came == Came::Waiting);
            findings.gate = Part::of(
                open.is_none(),
                "each was refused as soon as it could be known, and only its own connection was closed",
                open.map_or_else(String::new, |one| {
                    format!("after {} your server still waits", one.what)
                }),
            );
        }
        if let Some(code) = self.recognised(legal, hostile, greedy.is_some()).await? {
            findings.looks_like(code);
        }
        Ok(findings)
    }

    /// The misconception that this looks like, the most telling first.
    async fn recognised(
        &self,
        legal: &[Seen],
        hostile: &[Seen],
        greedy: bool,
    ) -> Result<Option<&'static str>, Stop> {
        let came = |what: &str| {
            legal.iter().chain(hostile).find(|one| one.what == what).map(|one| &one.came)
        };
        let answered = |what: &str| came(what) == Some(&Came::Answered);
        if !answered(ONE) {
            let said = [&1_u32.to_le_bytes()[..], b"x"].concat();
            let little = self.talk(std::slice::from_ref(&said), Some(&said), End::Half).await?;
            return Ok((little == Came::Answered).then_some("M19-LITTLE"));
        }
        Ok(if greedy {
            Some("M19-ALLOC-FIRST")
        } else if self.fell.is_some() {
            Some("M19-CRASH-ALL")
        } else if came(SIGN) == Some(&Came::Otherwise)
            || (came(SIGN) == Some(&Came::Waiting) && came(OVER) == Some(&Came::Closed))
        {
            Some("M19-SIGNED")
        } else if !answered(SPLIT) {
            Some("M19-RECV-ONCE")
        } else if !answered(GLUED) {
            Some("M19-GLUED")
        } else if !answered(EMPTY) {
            Some("M19-EMPTY")
        } else if !answered(MOST) {
            Some("M19-MAXMINUS")
        } else {
            None
        })
    }
}

/// How a conversation ends on the visitor's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The visitor says that nothing more comes.
    Half,
    /// The visitor says nothing of that kind.
    Open,
}

/// Says the pieces, and hears until as much came as is expected and a moment more, or until the end.
async fn exchange(
    stream: &mut TcpStream,
    heard: &mut Vec<u8>,
    pieces: &[Vec<u8>],
    expected: Option<&[u8]>,
    end: End,
) {
    let (mut reader, mut writer) = stream.split();
    let saying = async {
        for piece in pieces {
            // A server that has closed already is no longer listening.
            drop(writer.write_all(piece).await);
            if pieces.len() > 1 {
                sleep(BETWEEN_PIECES).await;
            }
        }
        if end == End::Half && expected.is_none() {
            drop(writer.shutdown().await);
        }
    };
    let most = expected.map_or(MOST_HEARD, <[u8]>::len);
    let hearing = async {
        let mut limited = (&mut reader).take(u64::try_from(most).unwrap_or(u64::MAX));
        // What came before a reset counts.
        while let Ok(1..) = limited.read_buf(heard).await {}
    };
    tokio::join!(saying, hearing);
}

fn told(one: &Seen) -> String {
    let came = match one.came {
        Came::Answered => "it came back",
        Came::Otherwise => "something else came back",
        Came::Closed => "the connection was closed",
        Came::Nobody => "nobody listens any more",
        Came::Waiting => "nothing happened",
    };
    let grown = one.grown.filter(|grown| *grown > MOST_GROWTH);
    let grown = grown.map(|mebibytes| format!(", and the server asked for {mebibytes} MiB"));
    format!("{}: {came}{}.", capitalised(one.what), grown.unwrap_or_default())
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn way(one: &Seen, is_legal: bool) -> Walk {
    let stopped = match one.came {
        Came::Answered | Came::Otherwise => None,
        Came::Closed => Some((Gate::Frame, "closed")),
        Came::Nobody => Some((Gate::Bind, "nobody")),
        Came::Waiting => Some((Gate::Frame, "waits")),
    };
    let walk = Walk::new(if is_legal { "Ana" } else { "Mallory" }, HERE, stopped).through(&ROOMS);
    let walk = walk.ending(one.what);
    if is_legal { walk } else { walk.hostile() }
}

fn framed(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), text].concat()
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Frame, Gate::Service];
/// The longest message of the protocol, in bytes.
const LONGEST: usize = 65_536;
const MANY: usize = 1000;
/// Threads reserve some for themselves; a GiB that a stranger asked for is more than all of them.
const MOST_GROWTH: u64 = 700;
/// More than any wrong answer of interest.
const MOST_HEARD: usize = 4096;
/// What the task allows for an answer or a refusal.
const ANSWER: Duration = Duration::from_millis(250);
/// The task's own: a slow line brings a byte at a time.
const BETWEEN_PIECES: Duration = Duration::from_millis(10);
const ONE: &str = "a message of one byte";
const EMPTY: &str = "an empty message";
const MOST: &str = "a message of 65536 bytes";
const SPLIT: &str = "a message that comes a byte at a time";
const GLUED: &str = "two messages in one segment";
const GREEDY: &str = "a length of 1073741824";
const OVER: &str = "a length of 65537";
const SIGN: &str = "a length of 2147483648";
