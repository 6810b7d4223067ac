//! 05, refused, silent or nowhere: six faults and a healthy service, to be told apart by what they look like.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use crate::lab::host::{Host, Manners, acceptor};
use crate::lab::knock::Knock;
use crate::lab::lan::NOWHERE;
use crate::lab::papers::{Office, shown};
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Part};

/// What is behind a door, by the word that the learner's program has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Healthy,
    Closed,
    Silent,
    HangsUp,
    Mute,
    Nowhere,
    Tls,
}

const FAULTS: [Fault; 7] = [
    Fault::Healthy,
    Fault::Closed,
    Fault::Silent,
    Fault::HangsUp,
    Fault::Mute,
    Fault::Nowhere,
    Fault::Tls,
];

impl Fault {
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::HangsUp => "hangs-up",
            Self::Mute => "mute",
            Self::Nowhere => "nowhere",
            Self::Tls => "tls",
        }
    }
}

/// A door that was built, and what keeps it as it is.
struct Door {
    fault: Fault,
    at: SocketAddr,
    _kept: Kept,
}

/// Held for as long as the door stands.
#[expect(dead_code, reason = "what it holds is only to be dropped with the door")]
enum Kept {
    Nothing,
    Taken(TcpSocket),
    Socket(Vec<TcpStream>, TcpListener),
    Host(Host),
    Task(Ended),
}

/// A task that ends with its door.
struct Ended(AbortHandle);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a learner's program said of a door.
struct Said {
    fault: Fault,
    word: Option<String>,
}

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let mut faults = FAULTS;
    stage.dice("doors").shuffle(&mut faults);
    let mut doors = Vec::new();
    for fault in faults {
        if let Some(door) = build(stage, fault).await? {
            doors.push(door);
        }
    }
    let calls = doors.iter().map(|door| ask(stage, door));
    let mut said = Vec::new();
    for call in futures_util::future::join_all(calls).await {
        said.push(call?);
    }
    Ok(judge(&said))
}

/// Runs the learner's program at one door, no longer than the task says.
async fn ask(stage: &Stage, door: &Door) -> Result<Said, Stop> {
    let values = [("host", door.at.ip().to_string()), ("port", door.at.port().to_string())];
    let mut program = stage.start("triage", &values)?;
    program.nothing_more();
    let ended = program.ended(stage.patience(LONGEST)).await.is_some();
    let said = program.said();
    let (word, words) = (said.trim().to_lowercase(), program.last_words());
    program.kill().await;
    if ended && word.is_empty() {
        return Err(Stop::yours(format!("your triage said nothing on standard output: {words}")));
    }
    Ok(Said { fault: door.fault, word: ended.then_some(word) })
}

fn judge(said: &[Said]) -> Findings {
    let mut findings = Findings::new();
    let of = |fault: Fault| said.iter().find(|one| one.fault == fault);
    let word = |fault: Fault| of(fault).and_then(|one| one.word.as_deref());
    for one in said {
        let heard = one.word.as_deref().unwrap_or("nothing in time, so I had to stop it");
        findings.saw(format!("The {} door: your program said {heard}.", one.fault.word()));
    }
    let healthy = word(Fault::Healthy) == Some("healthy");
    findings.honest = Part::of(
        healthy,
        "the healthy service was recognised",
        "the healthy service was not called healthy",
    );
    let faults: Vec<_> = said.iter().filter(|one| one.fault != Fault::Healthy).collect();
    let hung = faults.iter().any(|one| one.word.is_none());
    let fooled = faults.iter().any(|one| one.word.as_deref() == Some("healthy"));
    let wrong = faults.iter().filter(|one| one.word.as_deref() != Some(one.fault.word())).count();
    let bag =
        faults.iter().all(|one| one.word == faults.first().and_then(|first| first.word.clone()));
    findings.attack = Part::of(
        !hung && !fooled && !bag,
        "no door held your program up, and none passed for another kind",
        if hung {
            "a door held your program up"
        } else {
            "your program cannot tell the doors apart"
        },
    );
    if findings.attack.is_held() {
        findings.gate = Part::of(
            wrong == 0,
            format!("all {} faults have their own name", faults.len()),
            format!("{wrong} of {} faults have the wrong name", faults.len()),
        );
    }
    recognise(&mut findings, hung, bag, &word);
    findings
}

fn recognise<'a>(
    findings: &mut Findings,
    hung: bool,
    bag: bool,
    word: &dyn Fn(Fault) -> Option<&'a str>,
) {
    if hung {
        findings.looks_like("M05-NOTIMEOUT");
    } else if bag {
        findings.looks_like("M05-ONEBAG");
    } else if word(Fault::Closed) == Some("silent") {
        findings.looks_like("M05-REFUSED-FIREWALL");
    } else if word(Fault::Closed) == Some("nowhere") {
        findings.looks_like("M05-DEADHOST");
    } else if word(Fault::HangsUp) == Some("closed") {
        findings.looks_like("M05-EOF");
    }
}

/// Builds a door, and makes sure by a knock of our own that it is what it should be; none where this system
/// has no such fault.
async fn build(stage: &Stage, fault: Fault) -> Result<Option<Door>, Stop> {
    let (at, kept) = match fault {
        Fault::Healthy => {
            let manners = Manners { papers: None, reply: b"hello\n".to_vec() };
            let host = Host::open(stage, HERE, manners).await?;
            (host.address(), Kept::Host(host))
        }
        Fault::Closed => closed(stage)?,
        Fault::Silent => silent(stage).await?,
        Fault::HangsUp => receive(stage, |stream| async move { drop(stream) }).await?,
        Fault::Mute => receive(stage, hold).await?,
        Fault::Nowhere => {
            let ip = if stage.lan().is_pocket() { NOWHERE } else { MULTICAST };
            (SocketAddr::new(ip.into(), 9), Kept::Nothing)
        }
        Fault::Tls => {
            let tls = acceptor(shown(&Office::new()?.server("help.school.test")?)?)?;
            receive(stage, move |stream| {
                let tls = tls.clone();
                async move { drop(tls.accept(stream).await) }
            })
            .await?
        }
    };
    let is_there = match fault {
        Fault::Closed | Fault::Silent => {
            let knock = stage.aim(at)?.knock(None, stage.patience(SHORT)).await;
            let wanted = if fault == Fault::Closed { Knock::Refused } else { Knock::Silent };
            knock == wanted
        }
        Fault::Healthy | Fault::HangsUp | Fault::Mute | Fault::Nowhere | Fault::Tls => true,
    };
    Ok(is_there.then_some(Door { fault, at, _kept: kept }))
}

/// A port that nobody listens at, nor can: it is taken, so that no other door gets its number.
fn closed(stage: &Stage) -> Result<(SocketAddr, Kept), Stop> {
    let socket = TcpSocket::new_v4().map_err(Stop::machine)?;
    socket.bind(SocketAddr::new(HERE, 0)).map_err(Stop::machine)?;
    let at = socket.local_addr().map_err(Stop::machine)?;
    stage.opened(at.port());
    Ok((at, Kept::Taken(socket)))
}

/// A queue that is full: further packets are dropped, as a firewall does it, and none leaves the machine.
async fn silent(stage: &Stage) -> Result<(SocketAddr, Kept), Stop> {
    let socket = TcpSocket::new_v4().map_err(Stop::machine)?;
    socket.bind(SocketAddr::new(HERE, 0)).map_err(Stop::machine)?;
    let listener = socket.listen(1).map_err(Stop::machine)?;
    let at = listener.local_addr().map_err(Stop::machine)?;
    stage.opened(at.port());
    let mut queued = Vec::new();
    for _ in 0..4 {
        match stage.aim(at)?.connect(None, stage.patience(SHORT)).await {
            Ok(stream) => queued.push(stream),
            Err(_) => break,
        }
    }
    Ok((at, Kept::Socket(queued, listener)))
}

/// A door that does this with every visitor.
async fn receive<W, F>(stage: &Stage, work: W) -> Result<(SocketAddr, Kept), Stop>
where
    W: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((HERE, 0)).await.map_err(Stop::machine)?;
    let at = listener.local_addr().map_err(Stop::machine)?;
    stage.opened(at.port());
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(work(stream));
        }
    });
    Ok((at, Kept::Task(Ended(task.abort_handle()))))
}

/// Reads everything and says nothing.
async fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// TCP has no way to a group; the refusal comes at once, and nothing is sent.
const MULTICAST: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// What the task allows for one door.
const LONGEST: Duration = Duration::from_secs(3);
const SHORT: Duration = Duration::from_millis(100);
