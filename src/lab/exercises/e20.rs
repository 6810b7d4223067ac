//! 20, O'Brien and the log forger: the same name in a file's path, a log and a page.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::lab::stage::{Stage, Stop};
use crate::lab::verdict::{Findings, Gate, Part, Walk};

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let secret = stage.secret("secret");
    stage.give("secret.txt", format!("the exam is about {secret}\n"))?;
    let port = stage.port("port")?;
    let server = match stage.serve("server", &[HERE], port).await {
        Ok(server) => server,
        Err(Stop::Yours(why)) => return Ok(Findings::not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let mut scene = Scene { stage, at: SocketAddr::new(HERE, port), secret, asked: Vec::new() };
    let seen = scene.play().await;
    server.kill().await;
    Ok(seen?.judge())
}

struct Scene<'a> {
    stage: &'a Stage,
    at: SocketAddr,
    secret: String,
    /// What was done, and with which name, in order.
    asked: Vec<(&'static str, String)>,
}

struct Seen {
    /// Honest people whose note did not come back as they wrote it, and what came.
    lost: Vec<(&'static str, String)>,
    /// Names by which the secret was read.
    stolen: Vec<String>,
    /// Whether a file outside the notes was written.
    overwritten: bool,
    /// Whether the log says what nobody did, or has lines that are no record.
    log: Result<(), String>,
    /// Whether a name is more than text on the page.
    page_runs: bool,
    /// Whether the page shows the honest names.
    page_shows: bool,
}

impl Scene<'_> {
    async fn play(&mut self) -> Result<Seen, Stop> {
        let mut lost = Vec::new();
        for name in HONEST {
            let text = format!("a note, {}", self.stage.dice(name).word(8));
            self.ask("post", name, &text).await?;
            let read = self.ask("read", name, "").await?;
            let came = word(&read, "text");
            if came != text || word(&read, "name") != name {
                lost.push((name, word(&read, "name").to_owned()));
            }
        }
        let full = self.stage.path().join("secret.txt").display().to_string();
        let ways_out =
            ["../secret.txt", "....//secret.txt", "..//../secret.txt", "x/../../secret.txt", &full];
        let mut stolen = Vec::new();
        for name in ways_out {
            let read = self.ask("read", name, "").await?;
            if word(&read, "text").contains(&self.secret) {
                stolen.push(name.to_owned());
            }
        }
        for name in ways_out {
            self.ask("post", name, "mallory was here").await?;
        }
        for name in [FORGED, REPAINTED, SCRIPT, "nul\0byte"] {
            self.ask("post", name, "hello").await?;
        }
        let page = self.ask("page", "", "").await?;
        let page = word(&page, "page").to_owned();
        let secret = self.stage.read("secret.txt").unwrap_or_default();
        Ok(Seen {
            lost,
            stolen,
            overwritten: !secret.contains(&self.secret),
            log: self.log(),
            page_runs: page.contains("<script"),
            page_shows: page.contains("王芳") && page.contains("DROP TABLE"),
        })
    }

    /// Whether the log has a record for each request, and nothing else.
    fn log(&self) -> Result<(), String> {
        let text = self.stage.read("board.log").map_err(|_| "there is no board.log".to_owned())?;
        if text.chars().any(|letter| letter.is_control() && letter != '\n') {
            return Err("it holds control characters, which repaint a terminal".to_owned());
        }
        let mut lines = text.lines();
        for (what, name) in &self.asked {
            let line = lines.next().ok_or("it has fewer lines than there were requests")?;
            let record: Value = serde_json::from_str(line)
                .map_err(|_| "it has a line that is no JSON".to_owned())?;
            if word(&record, "do") != *what || word(&record, "name") != name {
                return Err("it has a line about a request that nobody made".to_owned());
            }
        }
        match lines.next() {
            Some(_) => Err("it has more lines than there were requests".to_owned()),
            None => Ok(()),
        }
    }

    async fn ask(&mut self, what: &'static str, name: &str, text: &str) -> Result<Value, Stop> {
        self.asked.push((what, name.to_owned()));
        let limit = self.stage.patience(ANSWER);
        let Ok(stream) = self.stage.aim(self.at)?.connect(None, limit).await else {
            return Ok(Value::Null);
        };
        let line = json!({"do": what, "name": name, "text": text}).to_string();
        let answer = timeout(limit, converse(stream, &line)).await.unwrap_or_default();
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }
}

async fn converse(stream: TcpStream, line: &str) -> String {
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    drop(stream.get_mut().write_all(format!("{line}\n").as_bytes()).await);
    drop(stream.read_line(&mut answer).await);
    answer
}

impl Seen {
    fn judge(&self) -> Findings {
        let mut findings = Findings::new();
        findings.honest = Part::of(
            self.lost.is_empty() && self.page_shows,
            format!("all {} notes came back under the names they were posted with", HONEST.len()),
            match self.lost.first() {
                Some((name, came)) => format!("{name} came back as {}", shown(came)),
                None => "the page does not show everybody who posted".to_owned(),
            },
        );
        let harm = if let Some(name) = self.stolen.first() {
            format!("Mallory read secret.txt by the name {}", shown(name))
        } else if self.overwritten {
            "Mallory wrote to secret.txt".to_owned()
        } else if self.page_runs {
            "Mallory's name is a script on the page, and runs for everybody who reads it".to_owned()
        } else {
            String::new()
        };
        findings.attack = Part::of(
            harm.is_empty(),
            "no name led out of the notes, and on the page names are text",
            &harm,
        );
        if findings.attack.is_held() {
            let why = self.log.as_ref().err().cloned().unwrap_or_default();
            findings.gate = Part::of(
                self.log.is_ok(),
                "the log has one record for each request, with the name as it came",
                format!("the log cannot be believed: {why}"),
            );
        }
        findings.saw(format!(
            "{} of {} honest notes came back.",
            HONEST.len().saturating_sub(self.lost.len()),
            HONEST.len()
        ));
        findings.saw(format!("{} of 5 names led to secret.txt.", self.stolen.len()));
        if let Err(why) = &self.log {
            findings.saw(format!("Of the log: {why}."));
        }
        let lost = (!self.lost.is_empty()).then_some((Gate::Service, "refused"));
        findings
            .walks
            .push(Walk::new("O'Brien", HERE, lost).through(&ROOMS).ending("posts a note"));
        let stopped = harm.is_empty().then_some((Gate::Service, "only text"));
        let end = if harm.is_empty() { "gets a note of his own" } else { "gets what he came for" };
        findings
            .walks
            .push(Walk::new("Mallory", HERE, stopped).through(&ROOMS).hostile().ending(end));
        if let Some(code) = self.recognised() {
            findings.looks_like(code);
        }
        findings
    }

    fn recognised(&self) -> Option<&'static str> {
        let lost = |name: &str| self.lost.iter().find(|(own, _)| *own == name);
        if lost("O'Brien").is_some_and(|(_, came)| came.contains("&#")) {
            Some("M20-ESCAPE-INPUT")
        } else if lost("O'Brien").is_some_and(|(_, came)| came == "OBrien") {
            Some("M20-BLACKLIST")
        } else if lost("王芳").is_some() && lost("Ana").is_none() {
            Some("M20-VALIDATE-ONLY")
        } else if self.stolen.first().is_some_and(|name| name != "../secret.txt") {
            Some("M20-ONCE")
        } else if !self.stolen.is_empty() || self.overwritten {
            Some("M20-PATH")
        } else if self.page_runs {
            Some("M20-PAGE")
        } else if self.log.is_err() {
            Some("M20-LATE-LOG")
        } else {
            None
        }
    }
}

/// A text in an answer; nothing where it has none.
fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn shown(text: &str) -> String {
    doorward::peer::PeerText::new(text.as_bytes()).as_str().to_owned()
}

/// Names as people have them, and one of a band.
const HONEST: [&str; 6] =
    ["Ana", "O'Brien", "王芳", "DROP TABLE", "Anne-Marie D'Arcy", "Zoë \u{1f680}"];
const FORGED: &str = "eve\npost by admin\n{\"do\":\"post\",\"name\":\"admin\"}";
const REPAINTED: &str = "eve\u{1b}[2J\u{1b}[1;1Hall is well";
const SCRIPT: &str = "<script>alert(1)</script>";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 2] = [Gate::Bind, Gate::Service];
const ANSWER: Duration = Duration::from_millis(500);
