//! 02, somebody is in my seat: a port that is taken, for a moment, for ever, or only by what a server left behind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{Instant, sleep, timeout};

use crate::lab::knock::Knock;
use crate::lab::program::Program;
use crate::lab::seat::share;
use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let greeting = format!("the quiz begins: {}", stage.secret("greeting"));
    stage.give("greeting.txt", format!("{greeting}\n"))?;
    let scene = Scene { stage, greeting };
    // Each situation has a port of its own, so that they can all happen at once.
    let (free, moment, neighbour, left_behind, taken) = tokio::join!(
        scene.free(),
        scene.taken_for_a_moment(),
        scene.taken_next_door(),
        scene.left_behind(),
        scene.taken_for_ever()
    );
    let (free, impostor) = free?;
    let served = [
        ("the seat was free", free),
        ("the seat was taken, and then left", moment?),
        ("the seat next door was taken, at 127.0.0.2", neighbour?),
        ("only old connections of a server that was gone were there", left_behind?),
    ];
    Ok(judge(&served, impostor, &taken?))
}

struct Scene<'a> {
    stage: &'a Stage,
    greeting: String,
}

/// What came of a start while somebody else sat there for ever.
struct Taken {
    /// Its exit code; none where it still ran.
    code: Option<i32>,
    still_runs: bool,
    /// The port of the line `ready PORT` on its standard output.
    ready: Option<String>,
    named: bool,
    port: u16,
}

impl Scene<'_> {
    /// Nobody is in the way; and afterwards somebody tries to sit there too. How many of its visitors he got.
    async fn free(&self) -> Result<(bool, usize), Stop> {
        let at = self.seat()?;
        let mut program = self.server(at.port())?;
        let served = self.is_served(at, &mut program).await?;
        let visitors = if served { impostor(self.stage, at).await? } else { 0 };
        program.kill().await;
        Ok((served, visitors))
    }

    /// Somebody sits there, and leaves.
    async fn taken_for_a_moment(&self) -> Result<bool, Stop> {
        let (at, holder) = self.hold(HERE).await?;
        let mut program = self.server(at.port())?;
        let begun = Instant::now();
        sleep(MOMENT).await;
        drop(holder);
        // The task promises a quarter of a second; a server that keeps to it may have given up since.
        if begun.elapsed() > LATE {
            return Err(Stop::machine("this machine is too busy to leave a seat in time"));
        }
        let served = self.is_served(at, &mut program).await?;
        program.kill().await;
        Ok(served)
    }

    /// The same port of another address of this machine is taken.
    async fn taken_next_door(&self) -> Result<bool, Stop> {
        let (next, _holder) = self.hold(NEXT_DOOR).await?;
        let at = SocketAddr::new(HERE, next.port());
        let mut program = self.server(at.port())?;
        let served = self.is_served(at, &mut program).await?;
        program.kill().await;
        Ok(served)
    }

    /// A server was there a moment ago, and closed its connections itself: the kernel remembers them (RFC 9293,
    /// TIME-WAIT).
    async fn left_behind(&self) -> Result<bool, Stop> {
        let (at, before) = self.hold(HERE).await?;
        let mut visitor = self.stage.aim(at)?.connect(None, self.stage.patience(ANSWER)).await;
        if let (Ok((mut stream, _)), Ok(visitor)) = (before.accept().await, &mut visitor) {
            drop(stream.shutdown().await);
            let mut end = [0];
            drop(visitor.read(&mut end).await);
            drop(visitor.shutdown().await);
            drop(stream.read(&mut end).await);
        }
        drop((visitor, before));
        let mut program = self.server(at.port())?;
        let served = self.is_served(at, &mut program).await?;
        program.kill().await;
        Ok(served)
    }

    /// Somebody sits there, and stays.
    async fn taken_for_ever(&self) -> Result<Taken, Stop> {
        let (at, _holder) = self.hold(HERE).await?;
        let mut program = self.server(at.port())?;
        let (begun, limit) = (Instant::now(), self.stage.patience(LONGEST));
        let status = loop {
            let status = program.ended(POLL).await;
            // What has said ready goes on for ever.
            let is_over = status.is_some() || program.said().contains("ready");
            if is_over || begun.elapsed() > limit {
                break status;
            }
        };
        let said = program.said();
        let ready = said.lines().find_map(|line| line.trim().strip_prefix("ready"));
        let taken = Taken {
            code: status.map(|status| status.code().unwrap_or(0)),
            still_runs: status.is_none(),
            ready: ready.map(|port| port.trim().to_owned()),
            named: program.complained().contains(&at.port().to_string()),
            port: at.port(),
        };
        program.kill().await;
        Ok(taken)
    }

    /// A port that nobody had a moment ago.
    fn seat(&self) -> Result<SocketAddr, Stop> {
        let socket = TcpSocket::new_v4().map_err(Stop::machine)?;
        socket.bind(SocketAddr::new(HERE, 0)).map_err(Stop::machine)?;
        let at = socket.local_addr().map_err(Stop::machine)?;
        self.stage.opened(at.port());
        Ok(at)
    }

    /// Somebody who sits at a port.
    async fn hold(&self, ip: IpAddr) -> Result<(SocketAddr, TcpListener), Stop> {
        let holder = TcpListener::bind((ip, 0)).await.map_err(Stop::machine)?;
        let at = holder.local_addr().map_err(Stop::machine)?;
        self.stage.opened(at.port());
        Ok((at, holder))
    }

    fn server(&self, port: u16) -> Result<Program, Stop> {
        self.stage.start("server", &[("port", port.to_string())])
    }

    /// Whether the greeting is heard there in time.
    async fn is_served(&self, at: SocketAddr, program: &mut Program) -> Result<bool, Stop> {
        let begun = Instant::now();
        let mut limit = self.stage.patience(START);
        while begun.elapsed() < limit {
            let knock = self.stage.aim(at)?.knock(None, self.stage.patience(ANSWER)).await;
            if let Knock::Said(said) = &knock
                && String::from_utf8_lossy(said).contains(&self.greeting)
            {
                return Ok(true);
            }
            if program.ended(POLL).await.is_some() {
                break;
            }
            if program.said().contains("ready") {
                // What says so is there in a moment, or never.
                limit = limit.min(begun.elapsed().saturating_add(self.stage.patience(SAID)));
            }
        }
        Ok(false)
    }
}

/// Mallory asks for the same seat, and counts who comes to him.
async fn impostor(stage: &Stage, at: SocketAddr) -> Result<usize, Stop> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(Stop::machine)?;
    share(&socket).map_err(Stop::machine)?;
    socket.set_nonblocking(true).map_err(Stop::machine)?;
    if socket.bind(&at.into()).and_then(|()| socket.listen(64)).is_err() {
        return Ok(0);
    }
    let listener = TcpListener::from_std(socket.into()).map_err(Stop::machine)?;
    for _ in 0..VISITORS {
        drop(stage.aim(at)?.connect(None, stage.patience(ANSWER)).await);
    }
    let mut count = 0_usize;
    while timeout(POLL, listener.accept()).await.is_ok_and(|accepted| accepted.is_ok()) {
        count = count.saturating_add(1);
    }
    Ok(count)
}

fn judge(served: &[(&'static str, bool); 4], impostor: usize, taken: &Taken) -> Findings {
    let mut findings = Findings::new();
    let missed = served.iter().find(|(_, is)| !is);
    findings.honest = Part::of(
        missed.is_none(),
        "served: with the seat free, left in time, taken next door, and with old connections on it",
        missed.map_or_else(String::new, |(when, _)| format!("nobody was served when {when}")),
    );
    for (when, is) in served {
        let end = if *is { "your server served" } else { "your server did not serve" };
        findings.saw(format!("When {when}, {end}."));
        let walk = Walk::new("Ana", HERE, (!is).then_some((Gate::Bind, "nobody")));
        findings.walks.push(walk.through(&ROOMS).ending(*when));
    }
    findings.attack = Part::of(
        impostor == 0,
        "Mallory asked for the same seat and was refused by the kernel",
        format!("Mallory sat on the same seat and got {impostor} of {VISITORS} visitors"),
    );
    let stopped = (impostor == 0).then_some((Gate::Bind, "in use"));
    let end = if impostor == 0 { "gets no seat" } else { "gets your visitors" };
    findings.walks.push(Walk::new("Mallory", HERE, stopped).through(&ROOMS).hostile().ending(end));
    let told = taken.told();
    findings.saw(format!("When the seat was taken for good, your server {told}."));
    if findings.attack.is_held() {
        findings.gate = Part::of(
            taken.is_right(),
            "when the seat was taken for good, it said so and ended",
            format!("when the seat was taken for good, it {told}"),
        );
    }
    if let Some(code) = recognised(served, impostor, taken) {
        findings.looks_like(code);
    }
    findings
}

impl Taken {
    fn is_right(&self) -> bool {
        self.ready.is_none() && self.named && self.code.is_some_and(|code| code != 0)
    }

    fn told(&self) -> String {
        let port = self.port.to_string();
        match (&self.ready, self.code) {
            (Some(other), _) if *other != port => {
                let other = doorward::peer::PeerText::new(other.as_bytes());
                format!("said ready at {other}, and your clients go to {port}")
            }
            (Some(_), _) => "said ready, and nobody was there".to_owned(),
            (None, None) => "was still running, and said nothing of use".to_owned(),
            (None, Some(0)) => "ended with code 0, as if all were well".to_owned(),
            (None, Some(code)) if !self.named => {
                format!("ended with code {code}, and did not name port {port} on standard error")
            }
            (None, Some(code)) => format!("named the port, and ended with code {code}"),
        }
    }
}

fn recognised(
    served: &[(&'static str, bool); 4],
    impostor: usize,
    taken: &Taken,
) -> Option<&'static str> {
    let [(_, free), (_, moment), (_, neighbour), (_, left_behind)] = served;
    let is_elsewhere = taken.ready.as_ref().is_some_and(|port| *port != taken.port.to_string());
    if impostor > 0 {
        Some("M02-REUSEPORT")
    } else if is_elsewhere {
        Some("M02-RANDOM")
    } else if taken.ready.is_some() {
        Some("M02-SWALLOW")
    } else if !free {
        None
    } else if !left_behind {
        Some("M02-NOREUSEADDR")
    } else if !neighbour {
        Some("M02-EVERYWHERE")
    } else if !moment {
        Some("M02-ATONCE")
    } else if taken.still_runs {
        Some("M02-FOREVER")
    } else if taken.code == Some(0) || !taken.named {
        Some("M02-QUIET")
    } else {
        None
    }
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NEXT_DOOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const ROOMS: [Gate; 2] = [Gate::Bind, Gate::Service];
const VISITORS: usize = 20;
/// How long a seat is held that is then left; the task says a quarter of a second.
const MOMENT: Duration = Duration::from_millis(250);
const LATE: Duration = Duration::from_millis(450);
/// From the start, or from when the seat was left, to the first greeting.
const START: Duration = Duration::from_secs(5);
/// The task says one second; a language has to start, and to end.
const LONGEST: Duration = Duration::from_secs(4);
const SAID: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);
