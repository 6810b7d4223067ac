//! Receives visitors at the lab's door, and says on standard output how far each came.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use doorward::peer::{PeerAddr, PeerText};
use ipnet::IpNet;
use serde_json::json;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::plan::{Plan, Service};
use super::{println_line, tls};

/// The door, ready for visitors.
pub(super) struct Door {
    allow: Option<Vec<IpNet>>,
    tls: Option<TlsAcceptor>,
    service: Kind,
}

enum Kind {
    Show(PathBuf),
    Answer(PathBuf),
    Door,
}

impl Door {
    pub(super) fn new(plan: &Plan) -> Result<Self, String> {
        let service = match &plan.service {
            Service::Show { file } => Kind::Show(file.clone()),
            Service::Answer { file } => Kind::Answer(file.clone()),
            Service::Door => Kind::Door,
        };
        let allow = plan.address.as_ref().map(|address| address.allow.clone());
        let tls = plan.tls.as_ref().map(tls::acceptor).transpose()?;
        Ok(Self { allow, tls, service })
    }

    /// Accepts for as long as the process lives.
    pub(super) async fn receive(self: Arc<Self>, listener: TcpListener) {
        let mut failures = 0_u32;
        while failures < MOST_FAILURES {
            let Ok((stream, from)) = listener.accept().await else {
                failures = failures.saturating_add(1);
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            };
            failures = 0;
            let door = Arc::clone(&self);
            tokio::spawn(async move { door.lead(stream, from).await });
        }
    }

    /// Leads one visitor through the rooms.
    async fn lead(&self, stream: TcpStream, from: SocketAddr) {
        let ip = PeerAddr::new(from).ip();
        if !self.is_listed(ip) {
            return tell(from, "address", "refused", "not listed");
        }
        let Some(tls) = &self.tls else {
            return self.serve(stream, from, None).await;
        };
        match tls.accept(stream).await {
            Ok(stream) => {
                let name = tls::name(stream.get_ref().1);
                self.serve(stream, from, name).await;
            }
            Err(error) => tell(from, "handshake", "refused", &error.to_string()),
        }
    }

    fn is_listed(&self, ip: IpAddr) -> bool {
        self.allow.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&ip)))
    }

    async fn serve(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        from: SocketAddr,
        name: Option<String>,
    ) {
        let who = name.unwrap_or_else(|| "stranger".to_owned());
        tell(from, "service", "served", &who);
        let done = match &self.service {
            Kind::Show(file) => stream.write_all(&read(file)).await,
            Kind::Answer(file) => answer(&mut stream, |_| read(file)).await,
            Kind::Door => answer(&mut stream, |_| format!("door open, {who}\n").into_bytes()).await,
        };
        // A visitor that went away is no failure of the door.
        drop(done);
        drop(stream.shutdown().await);
    }
}

/// Answers line by line until the visitor has no more.
async fn answer(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    reply: impl Fn(&str) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let count = (&mut stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        if count == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        println_line(
            &json!({ "received": PeerText::escaped(line.trim_end().as_bytes()) }).to_string(),
        );
        stream.get_mut().write_all(&reply(&line)).await?;
        stream.get_mut().flush().await?;
    }
}

/// A line for whoever looks on.
fn tell(from: SocketAddr, room: &str, verdict: &str, why: &str) {
    let why = PeerText::escaped(why.as_bytes());
    println_line(
        &json!({ "from": from.to_string(), "room": room, "verdict": verdict, "why": why })
            .to_string(),
    );
}

fn read(file: &PathBuf) -> Vec<u8> {
    std::fs::read(file).unwrap_or_default()
}

const LONGEST_LINE: u64 = 4096;
/// A minute without a descriptor is no pause any more.
const MOST_FAILURES: u32 = 1000;
/// When the process has no descriptor left, the next visitor waits this long.
const ACCEPT_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);
