//! 01, four numbers, one conversation: what tells one visitor of a port from another.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let port = stage.port("port")?;
    let server = match stage.serve("server", &[HERE], port).await {
        Ok(server) => server,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let scene = Scene { stage, at: SocketAddr::new(HERE, port) };
    let seen = scene.play().await;
    server.kill().await;
    Ok(seen?.judge())
}

struct Scene<'a> {
    stage: &'a Stage,
    at: SocketAddr,
}

/// A visitor's connection.
struct Call {
    stream: BufReader<TcpStream>,
    own: SocketAddr,
    limit: Duration,
}

struct Seen {
    /// Alone, Ana is greeted and known.
    alone: bool,
    /// What the server says of her four numbers, and what they are.
    four: (String, String),
    /// Whether she was served while somebody else held a connection and said nothing.
    beside_silence: bool,
    /// Whom the server takes Mallory for, at her own address, and at her own port of another address.
    same_address: String,
    same_port: String,
    elsewhere: String,
    /// How many of a class were told their own names.
    class: usize,
    ana: String,
}

impl Scene<'_> {
    async fn play(&self) -> Result<Seen, Stop> {
        let ana = format!("ana-{}", self.stage.dice("ana").word(6));
        let mut first = self.call(HERE, 0).await?;
        let alone = first.say(&format!("name {ana}")).await == format!("hello {ana}")
            && first.say("who").await == ana;
        let four = (first.say("four").await, format!("{} {}", self.at, first.own));
        drop(first);
        let silent = self.call(HERE, 0).await?;
        let mut known = self.call(HERE, 0).await?;
        let beside_silence = known.say(&format!("name {ana}")).await == format!("hello {ana}");
        // Where one is served after the other, nobody else is heard, and the rest says nothing.
        let (mut same_address, mut same_port, mut elsewhere) =
            (String::new(), String::new(), String::new());
        let mut class = 0;
        if beside_silence {
            same_address = self.call(HERE, 0).await?.say("who").await;
            same_port = self.call(OTHER, known.own.port()).await?.say("who").await;
            elsewhere = self.call(OTHER, 0).await?.say("who").await;
            class = self.class().await?;
        }
        drop((silent, known));
        Ok(Seen { alone, four, beside_silence, same_address, same_port, elsewhere, class, ana })
    }

    /// Fifty are there at once: all say their names, and then all are asked.
    async fn class(&self) -> Result<usize, Stop> {
        let mut dice = self.stage.dice("class");
        let mut calls = Vec::new();
        for number in 0..CLASS {
            let name = format!("pupil-{number}-{}", dice.word(4));
            calls.push((self.call(HERE, 0).await?, name));
        }
        for (call, name) in &mut calls {
            call.say(&format!("name {name}")).await;
        }
        dice.shuffle(&mut calls);
        let mut right = 0_usize;
        for (call, name) in &mut calls {
            right = right.saturating_add(usize::from(call.say("who").await == *name));
        }
        Ok(right)
    }

    async fn call(&self, from: IpAddr, port: u16) -> Result<Call, Stop> {
        let limit = self.stage.patience(ANSWER);
        let target = self.stage.aim(self.at)?;
        let socket = TcpSocket::new_v4().map_err(Stop::machine)?;
        socket.bind(SocketAddr::new(from, port)).map_err(Stop::machine)?;
        let connected = timeout(limit, socket.connect(target.address())).await;
        let stream = connected.map_err(Stop::machine)?.map_err(|error| {
            Stop::machine(format!("your server's port takes no connection any more: {error}"))
        })?;
        let own = stream.local_addr().map_err(Stop::machine)?;
        Ok(Call { stream: BufReader::new(stream), own, limit })
    }
}

impl Call {
    /// The answer to one line; nothing where none comes in time.
    async fn say(&mut self, line: &str) -> String {
        let mut heard = Vec::new();
        let talk = async {
            drop(self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).await);
            drop(self.stream.read_until(b'\n', &mut heard).await);
        };
        drop(timeout(self.limit, talk).await);
        String::from_utf8_lossy(&heard).trim().to_owned()
    }
}

impl Seen {
    fn judge(&self) -> Findings {
        let mut findings = Findings::new();
        findings.honest = Part::of(
            self.alone,
            "alone, Ana was greeted and known by her name",
            "even alone, Ana was not greeted with hello and known by her name",
        );
        let taken = self.is_taken();
        findings.attack = Part::of(
            self.beside_silence && taken.is_none(),
            "Mallory held up nobody, and was taken for nobody",
            match taken {
                Some((_, how)) => format!("Mallory {how} was taken for Ana"),
                None => "while Mallory held a connection and said nothing, Ana was not served"
                    .to_owned(),
            },
        );
        if findings.attack.is_held() {
            let (said, are) = &self.four;
            findings.gate = Part::of(
                self.class == CLASS && said == are,
                format!("{CLASS} at once were told apart, and Ana's four numbers were right"),
                if said == are {
                    format!(
                        "{} of {CLASS} who were there at once were told their own names",
                        self.class
                    )
                } else {
                    format!("Ana's numbers are {are}, and your server said {}", shown(said))
                },
            );
        }
        self.tell(&mut findings, taken.is_some());
        if let Some(code) = self.recognised() {
            findings.looks_like(code);
        }
        findings
    }

    /// What happened, and the ways through the rooms.
    fn tell(&self, findings: &mut Findings, taken: bool) {
        findings.saw(format!(
            "Ana's four numbers were {}; your server said {}.",
            self.four.1,
            shown(&self.four.0)
        ));
        if self.beside_silence {
            for (how, said) in [
                ("at Ana's address", &self.same_address),
                ("at Ana's port of another address", &self.same_port),
                ("with neither", &self.elsewhere),
            ] {
                findings.saw(format!(
                    "To a stranger {how} your server said that he is {}.",
                    shown(said)
                ));
            }
            findings.saw(format!(
                "Of {CLASS} who were there at once {} were told their own names.",
                self.class
            ));
        } else {
            findings.saw(
                "While somebody held a connection and said nothing, nobody else was answered.",
            );
        }
        let stopped = (!self.beside_silence).then_some((Gate::Accept, "waits"));
        findings
            .walks
            .push(Walk::new("Ana", HERE, stopped).through(&ROOMS).ending("says her name"));
        let stopped = (!taken).then_some((Gate::Service, "nobody"));
        let end = if taken { "is taken for Ana" } else { "is taken for nobody" };
        findings
            .walks
            .push(Walk::new("Mallory", OTHER, stopped).through(&ROOMS).hostile().ending(end));
    }

    fn is_taken(&self) -> Option<(&'static str, &'static str)> {
        let is_ana = |said: &str| said.contains(&self.ana);
        if is_ana(&self.elsewhere) {
            Some(("M01-GLOBAL", "with another address and port"))
        } else if is_ana(&self.same_address) {
            Some(("M01-BY-ADDRESS", "at the same address"))
        } else if is_ana(&self.same_port) {
            Some(("M01-BY-PORT", "at the same port of another address"))
        } else {
            None
        }
    }

    fn recognised(&self) -> Option<&'static str> {
        let (said, are) = &self.four;
        let ends: Vec<_> = are.split(' ').collect();
        let told: Vec<_> = said.split(' ').collect();
        let port =
            |end: Option<&&str>| end.and_then(|end| end.rsplit(':').next()).map(str::to_owned);
        if self.alone && !self.beside_silence {
            Some("M01-SERIAL")
        } else if let Some((code, _)) = self.is_taken() {
            Some(code)
        } else if told.iter().rev().eq(ends.iter()) {
            Some("M01-SWAP")
        } else if port(told.first()) == port(ends.last()) {
            Some("M01-NEWPORT")
        } else {
            None
        }
    }
}

fn shown(said: &str) -> String {
    let text = doorward::peer::PeerText::new(said.as_bytes()).as_str().to_owned();
    if text.is_empty() { "nothing".to_owned() } else { text }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const ROOMS: [Gate; 3] = [Gate::Bind, Gate::Accept, Gate::Service];
const CLASS: usize = 50;
const ANSWER: Duration = Duration::from_millis(400);
