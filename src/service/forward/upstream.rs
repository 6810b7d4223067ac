//! Where a session goes on to, as an operator writes it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::handshake::DialSettings;
use crate::problem::{Fault, Problem};

/// Where a session goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A TCP port, spoken to without TLS.
    Plain(Endpoint),
    /// A TCP port of a server that is spoken to over mutual TLS.
    Tls(Endpoint, Box<DialSettings>),
    /// A unix socket.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address.
    Address(SocketAddr),
    /// A host name and a port; the name is looked up for each session.
    Name(String, u16),
}

impl Upstream {
    /// Reads `127.0.0.1:6379`, `db.internal:5432` or `unix:/run/app.sock`. What stands behind `tls:`
    /// is an [`Endpoint`]; it needs certificates as well.
    ///
    /// # Errors
    /// [`Fault::ServiceBadUpstream`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let Some(path) = text.strip_prefix("unix:") else {
            return Endpoint::parse(text).map(Upstream::Plain);
        };
        if !path.starts_with('/') || path.len() > LONGEST_SOCKET_PATH || path.contains('\0') {
            return Err(bad(text, "is no absolute path of at most 107 bytes"));
        }
        Ok(Upstream::Unix(path.into()))
    }

    /// The files that are read to reach it.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Upstream::Tls(_, settings) => {
                let named = [&settings.certificate, &settings.key, &settings.trust];
                named.map(|file| file.value.clone()).into()
            }
            Upstream::Plain(_) | Upstream::Unix(_) => Vec::new(),
        }
    }
}

impl Endpoint {
    /// Reads `127.0.0.1:6379`, `[::1]:6379` or `db.internal:5432`.
    ///
    /// # Errors
    /// [`Fault::ServiceBadUpstream`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(bad(text, "has no port")),
                _ => Ok(Endpoint::Address(address)),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad(text, "has no port"))?;
        let port: u16 = port.parse().map_err(|_| bad(text, "has no port between 1 and 65535"))?;
        let is_host = host.len() <= LONGEST_HOST
            && host.split('.').all(is_label)
            && !host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if port == 0 || !is_host {
            return Err(bad(text, "is no address and no host name"));
        }
        Ok(Endpoint::Name(host.to_owned(), port))
    }

    /// The name or the address that the certificate of a server there should hold; none where the host
    /// can stand in no certificate.
    #[must_use]
    pub fn server_name(&self) -> Option<ServerName<'static>> {
        match self {
            Endpoint::Address(address) => Some(ServerName::from(address.ip())),
            Endpoint::Name(host, _) => ServerName::try_from(host.clone()).ok(),
        }
    }
}

fn bad(text: &str, why: &str) -> Problem {
    let remedy = "write \"127.0.0.1:6379\", \"db.internal:5432\", \"tls:db.internal:5432\" or \
                  \"unix:/run/app.sock\"";
    let text = crate::peer::PeerText::from(text);
    Problem::error(Fault::ServiceBadUpstream, format!("{text:?} {why}"), remedy)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Plain(endpoint) => endpoint.fmt(f),
            Upstream::Tls(endpoint, _) => write!(f, "tls:{endpoint}"),
            Upstream::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Address(address) => address.fmt(f),
            Endpoint::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// `sun_path` of Linux holds 108 bytes with its final zero.
const LONGEST_SOCKET_PATH: usize = 107;
/// RFC 1035 section 2.3.4.
const LONGEST_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_an_address_a_name_or_a_unix_socket() {
        for text in ["127.0.0.1:6379", "[::1]:5432", "db.internal:5432", "unix:/run/app.sock"] {
            assert_eq!(Upstream::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "6379",
            ":6379",
            "db",
            "db:0",
            "db:99999",
            "unix:run",
            "unix:/a\0b",
            "1.2.3:9",
            "a b:1",
            "127.0.0.1:0",
            "tls:127.0.0.1:9",
        ] {
            let fault = Upstream::parse(text).unwrap_err().fault();
            assert_eq!(fault, Fault::ServiceBadUpstream, "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_expected_to_show_its_own_host() {
        for (text, name) in [("127.0.0.1:1", "127.0.0.1"), ("[::1]:1", "::1"), ("db:1", "db")] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.server_name().unwrap().to_str(), name);
        }
    }
}
