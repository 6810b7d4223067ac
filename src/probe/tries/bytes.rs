//! Bytes that are no TLS handshake, or one that is wrong or slow.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::kx_group::MLKEM768;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::handshake::{Versions, provider};
use crate::probe::judge::Tried;
use crate::probe::visitor::{Met, PATIENCE, Seen, hear};
use crate::probe::{LONGEST_ATTACK, Probe};

impl Probe {
    pub(super) async fn proxy_header(&self) -> Tried {
        let header = format!("PROXY TCP4 192.0.2.7 192.0.2.8 40000 {}\r\n", self.target.port());
        // No balancer's header comes after a preamble.
        let stream = self.knock(self.papers.home).await?;
        throw_on(stream, header.as_bytes()).await
    }

    /// Throws bytes at the server in place of a handshake.
    pub(super) async fn throw(&self, words: &[u8]) -> Tried {
        throw_on(self.greeted(self.papers.home).await?, words).await
    }

    pub(super) async fn silent_stranger(&self) -> Tried {
        let limit = self.handshake_limit()?;
        let mut stream = self.knock(self.papers.home).await?;
        let from = stream.local_addr().map_err(|error| error.to_string())?;
        let seen = hear(&mut stream, limit).await;
        Ok(Met { from, seen }.into())
    }

    pub(super) async fn drips(&self) -> Tried {
        let limit = self.handshake_limit()?;
        let stream = self.greeted(self.papers.home).await?;
        let from = stream.local_addr().map_err(|error| error.to_string())?;
        let (mut reading, mut writing) = stream.into_split();
        let pause = limit.checked_div(DRIPS).unwrap_or(limit);
        let dripping = async {
            let mut pause = interval(pause);
            for byte in announced_hello() {
                pause.tick().await;
                if writing.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        let seen = tokio::select! {
            seen = hear(&mut reading, limit) => seen,
            () = dripping => Seen::Open,
        };
        Ok(Met { from, seen }.into())
    }

    pub(super) async fn tls_1_2(&self) -> Tried {
        if self.handshake.versions == Versions::Tls12And13 {
            return Err("the configuration allows TLS 1.2".to_owned());
        }
        let config = self.tls_of(&[&TLS12], Some(&self.papers.honest))?;
        Ok(self.visit_as(config, self.papers.home).await?.into())
    }

    pub(super) async fn no_common_group(&self) -> Tried {
        let mut provider = (*provider()).clone();
        provider.kx_groups = vec![MLKEM768];
        let honest = Some(&self.papers.honest);
        let config = self.tls_with(Arc::new(provider), &[&TLS13], honest)?;
        Ok(self.visit_as(config, self.papers.home).await?.into())
    }

    pub(super) async fn other_protocol(&self) -> Tried {
        if self.service.greeting.alpn.is_empty() {
            return Err("the service names no protocol, so that any will do".to_owned());
        }
        let mut config = self.tls(Some(&self.papers.honest))?;
        config.alpn_protocols = vec![b"doorward-probe".to_vec()];
        Ok(self.visit_as(config, self.papers.home).await?.into())
    }

    /// When a handshake must be over, with room for a busy machine.
    fn handshake_limit(&self) -> Result<Duration, String> {
        let deadline = self.handshake.deadline;
        if deadline > LONGEST_ATTACK.checked_div(2).unwrap_or_default() {
            return Err(format!("the deadline of {deadline:?} is longer than a probe waits"));
        }
        Ok(deadline.saturating_add(MARGIN))
    }
}

/// Throws bytes at a connection, and hears what comes of it.
async fn throw_on(mut stream: TcpStream, words: &[u8]) -> Tried {
    let from = stream.local_addr().map_err(|error| error.to_string())?;
    // A server that has heard enough may be gone before the end.
    drop(timeout(PATIENCE, stream.write_all(words)).await);
    let seen = match hear(&mut stream, PATIENCE).await {
        // The server has nothing but an alert for a stranger (RFC 8446 section 5.1: content type 21).
        Seen::Words(words) if words.first() == Some(&ALERT) => Seen::Alert(alert(&words)),
        seen @ (Seen::Words(_) | Seen::Open | Seen::Alert(_) | Seen::Ended | Seen::Broken(_)) => {
            seen
        }
    };
    Ok(Met { from, seen }.into())
}

/// The description of an alert in the clear: the byte after type, version, length and level.
fn alert(record: &[u8]) -> String {
    match record.get(6) {
        Some(description) => format!("{:?}", rustls::AlertDescription::from(*description)),
        None => "cut short".to_owned(),
    }
}

/// A minimal `ClientHello` of TLS 1.1 (RFC 4346 section 7.4.1.2): version 3.2, 32 random bytes, no session,
/// one cipher suite, no compression.
pub(super) fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2F, 1, 0]);
    hello
}

/// The largest handshake message that can be announced, and 128 KiB of it in records of 16 KiB.
pub(super) fn huge_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in 0..8 {
        bytes.extend([22, 3, 1, 0x40, 0]);
        let mut body = vec![0; 0x4000];
        if record == 0 {
            let header = [1, 0xFF, 0xFF, 0xFF];
            body.splice(..header.len(), header);
        }
        bytes.extend(body);
    }
    bytes
}

/// A record of 512 bytes is announced that holds a `ClientHello`; what comes of it is always right so far.
fn announced_hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    hello.extend([7; 32]);
    hello
}

pub(super) const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// A `CLIENT-HELLO` of SSL 2.0 as its draft has it: two bytes of length with the first bit set, type 1,
/// version 0.2, one cipher, a challenge of 16 bytes.
pub(super) const SSL_2_HELLO: &[u8] = &[
    0x80, 28, 1, 0, 2, 0, 3, 0, 0, 0, 16, 7, 0, 0xC0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7,
];
/// A `ClientHello` of one byte, which cannot be one.
pub(super) const BROKEN_MESSAGE: &[u8] = &[22, 3, 3, 0, 5, 1, 0, 0, 1, 0xFF];
const ALERT: u8 = 21;
/// A busy machine may be so late.
const MARGIN: Duration = Duration::from_secs(2);
/// More drips than the announced message has, so that it never ends before the deadline.
const DRIPS: u32 = 60;
