//! How the visitors of a service begin: what some protocols say before TLS, and which protocol is spoken in it.

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::refusal::{Refusal, Refused};

/// What a service's visitors say before TLS, and offer in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The protocols inside TLS that are understood (ALPN, RFC 7301). With one given, a client that offers
    /// only others is refused; a client that offers none is let on.
    pub alpn: Vec<String>,
    /// What comes before TLS.
    pub preamble: Preamble,
}

/// What comes before TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preamble {
    /// Nothing.
    #[default]
    None,
    /// The request of a `PostgreSQL` client to begin TLS, or TLS at once with its protocol named in it.
    Postgres,
}

/// How a visitor began.
pub(super) struct Began {
    /// Bytes of TLS that were read already.
    pub(super) ahead: Vec<u8>,
    /// Whether it has to name its protocol, because nothing else tells that it speaks it.
    pub(super) must_name_protocol: bool,
}

impl Greeting {
    /// Whether one of the protocols that a client offers in TLS is understood. The handshake asks its own
    /// library the same.
    ///
    /// # Errors
    /// [`Refusal::HandshakeNoProtocol`] where it offers some, and only others.
    pub fn judge(&self, offered: &[String]) -> Result<(), Refused> {
        let understood = |name| self.alpn.contains(name);
        if self.alpn.is_empty() || offered.is_empty() || offered.iter().any(understood) {
            return Ok(());
        }
        Err(Refusal::HandshakeNoProtocol.bare())
    }
}

impl Preamble {
    /// Answers what comes before TLS.
    ///
    /// # Errors
    /// [`Refusal::HandshakeNotTls`] for a visitor that goes on without TLS, [`Refusal::HandshakeEarlyBytes`] for one that
    /// does not wait for the answer: what it sent could be taken for a part of the session.
    pub(super) async fn answer<S>(self, stream: &mut S) -> Result<Began, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Preamble::None => Ok(Began { ahead: Vec::new(), must_name_protocol: false }),
            Preamble::Postgres => postgres(stream).await,
        }
    }
}

/// `PostgreSQL` 17 documentation, sections 54.2.10 to 54.2.12: a request of eight bytes is answered with one.
async fn postgres<S>(stream: &mut S) -> Result<Began, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = first(stream).await?;
    if request == GSSENC_REQUEST {
        nothing_more(stream)?;
        say(stream, NO).await?;
        request = first(stream).await?;
    }
    if request.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Began { ahead: request.to_vec(), must_name_protocol: true });
    }
    if request != SSL_REQUEST {
        let (_, code) = request.split_at(4);
        let what = match code {
            code if code == CANCEL_REQUEST => "a cancel request without TLS",
            [0, 3, ..] => "a session without TLS",
            _ => "neither TLS nor a request for it",
        };
        return Err(Refusal::HandshakeNotTls.because(what));
    }
    nothing_more(stream)?;
    say(stream, YES).await?;
    Ok(Began { ahead: Vec::new(), must_name_protocol: false })
}

async fn first<S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; 8], Refused> {
    let mut request = [0; 8];
    match stream.read_exact(&mut request).await {
        Ok(_) => Ok(request),
        Err(error) => Err(Refusal::HandshakeClosed.because(error.kind().to_string())),
    }
}

/// A visitor that waits for its answer has sent nothing more.
fn nothing_more<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), Refused> {
    match stream.read(&mut [0]).now_or_never() {
        None => Ok(()),
        Some(Ok(0) | Err(_)) => Err(Refusal::HandshakeClosed.because("before the answer")),
        Some(Ok(_)) => Err(Refusal::HandshakeEarlyBytes.bare()),
    }
}

async fn say<S: AsyncWrite + Unpin>(stream: &mut S, answer: u8) -> Result<(), Refused> {
    let said = async {
        stream.write_all(&[answer]).await?;
        stream.flush().await
    };
    said.await.map_err(|error| Refusal::HandshakeClosed.because(error.kind().to_string()))
}

/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];
const CANCEL_REQUEST: [u8; 4] = [4, 210, 22, 46];
const YES: u8 = b'S';
const NO: u8 = b'N';
