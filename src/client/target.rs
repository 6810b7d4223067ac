//! Where to dial: a host, a port, and the name the host's certificate must hold.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// A server to dial, written `HOST:PORT`. The host is an address or a name; it can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
}

impl Target {
    /// The host as it was written, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name or address that the server's certificate must hold.
    #[must_use]
    pub fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }
}

/// Reads `127.0.0.1:8443`, `[::1]:8443` or `db.internal:8443`; anything else is a [`BadTarget`].
impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let (host, port) = text.rsplit_once(':').ok_or(BadTarget::NoPort)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(BadTarget::NoPort)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if inner.is_none() && host.contains(':') {
            return Err(BadTarget::NoBrackets);
        }
        if inner.is_some_and(|inner| !inner.contains(':')) {
            return Err(BadTarget::NoHost);
        }
        let host = inner.unwrap_or(host).to_owned();
        let server_name = server_name(&host)?;
        Ok(Self { host, port, server_name })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A name or an address that a server's certificate can hold.
///
/// # Errors
/// [`BadTarget::NoHost`] for any other text.
pub fn server_name(text: &str) -> Result<ServerName<'static>, BadTarget> {
    ServerName::try_from(text.to_owned()).map_err(|_| BadTarget::NoHost)
}

/// Why a text is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// No port, or none between 1 and 65535.
    #[error("it has no port between 1 and 65535: write HOST:PORT, such as 127.0.0.1:8443")]
    NoPort,
    /// Neither an address nor a host name.
    #[error("the host is no address and no host name")]
    NoHost,
    /// An IPv6 address of which nobody can tell where the port begins.
    #[error("an IPv6 address stands in brackets: [::1]:8443")]
    NoBrackets,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_or_a_name_with_a_port() {
        for text in ["127.0.0.1:8443", "[::1]:8443", "db.internal:1", "localhost:65535"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_no_target() {
        let why = |text: &str| text.parse::<Target>().unwrap_err();
        for text in ["", "8443", "localhost", "localhost:", "localhost:0", "localhost:65536"] {
            assert_eq!(why(text), BadTarget::NoPort, "{text}");
        }
        for text in [":8443", "a b:1", "[localhost]:1", "[]:1", "a..b:1", "300.0.0.1:1"] {
            assert_eq!(why(text), BadTarget::NoHost, "{text}");
        }
        assert_eq!(why("::1:8443"), BadTarget::NoBrackets);
    }
}
