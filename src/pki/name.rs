//! The names a certificate may carry. The certificate library checks none of them, so these types do.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::peer::PeerText;
use crate::problem::{Fault, Problem};

/// What a server is called: a DNS name or an address.
///
/// A DNS name is in lower case, has labels of letters, digits and hyphens (RFC 1123) and at the most 253
/// bytes; the first label may be `*` when at least two follow. Nothing else parses: no port, no scheme, no
/// network, no trailing dot, no Unicode (write its `xn--` form).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Host);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Dns(String),
    Ip(IpAddr),
}

impl HostName {
    /// The names of this machine for itself: `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn loopback() -> [Self; 3] {
        [
            Self(Host::Dns("localhost".to_owned())),
            Self(Host::Ip(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))),
            Self(Host::Ip(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))),
        ]
    }

    /// The DNS name, if it is one.
    #[must_use]
    pub fn dns(&self) -> Option<&str> {
        match &self.0 {
            Host::Dns(name) => Some(name),
            Host::Ip(_) => None,
        }
    }

    /// The address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.0 {
            Host::Dns(_) => None,
            Host::Ip(address) => Some(*address),
        }
    }

    /// The name as identity rules and the inventory write it: `dns:…` or `ip:…`.
    #[must_use]
    pub fn typed(&self) -> String {
        match &self.0 {
            Host::Dns(name) => format!("dns:{name}"),
            Host::Ip(address) => format!("ip:{address}"),
        }
    }

    /// The name as one part of a path: only `[a-z0-9._-]`, and never beginning with a dot.
    #[must_use]
    pub fn path_part(&self) -> String {
        match &self.0 {
            Host::Dns(name) => name.replace('*', "_"),
            Host::Ip(IpAddr::V4(address)) => address.to_string(),
            // A leading hyphen would look like an option to most commands.
            Host::Ip(IpAddr::V6(address)) => {
                format!("ip-{}", address.to_string().replace(':', "-"))
            }
        }
    }
}

impl From<IpAddr> for HostName {
    /// An IPv4-mapped IPv6 address becomes its IPv4 twin: that is what a verifier compares.
    fn from(address: IpAddr) -> Self {
        Self(Host::Ip(address.to_canonical()))
    }
}

impl FromStr for HostName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Ok(address) = text.parse::<IpAddr>() {
            if address.is_unspecified() || address.is_multicast() {
                return Err(bad(
                    text,
                    "is an address nobody connects to",
                    "name the address clients use",
                ));
            }
            return Ok(Self::from(address));
        }
        let lower = text.to_ascii_lowercase();
        let rest = lower.strip_prefix("*.").unwrap_or(&lower);
        check_dns(text, rest)?;
        if rest.len() < lower.len() && !rest.contains('.') {
            let reason = "is a wildcard over a whole top-level name, which verifiers refuse";
            return Err(bad(text, reason, "write at least two labels after the star"));
        }
        Ok(Self(Host::Dns(lower)))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Host::Dns(name) => f.write_str(name),
            Host::Ip(address) => address.fmt(f),
        }
    }
}

/// What a client is called: one DNS label, such as `alice` or `backup-2`, of at the most 63 bytes.
///
/// It becomes the common name, for services such as `PostgreSQL` that map users by it, and the DNS name
/// `alice.client.internal`, which is what identity rules match. A dot is refused because `OpenSSL` and
/// `GnuTLS` take a common name with a dot for a host name and apply the name constraints to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(String);

impl ClientName {
    /// Under which name every client is found: inside `internal`, which no public authority may issue for.
    pub const DOMAIN: &'static str = "client.internal";

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The DNS name that identity rules match: `NAME.client.internal`.
    #[must_use]
    pub fn dns(&self) -> String {
        format!("{}.{}", self.0, Self::DOMAIN)
    }
}

impl FromStr for ClientName {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let remedy = "write one word of lower-case letters, digits and hyphens, such as alice";
        if let Err(reason) = check_label(text) {
            return Err(bad(text, reason, remedy));
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(bad(
                text,
                "has capital letters, which DNS names do not tell apart",
                remedy,
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything a client's certificate says of it: its name, and a SPIFFE ID and e-mail addresses where wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    name: ClientName,
    spiffe: Option<SpiffeId>,
    emails: Vec<Email>,
}

impl ClientIdentity {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &ClientName {
        &self.name
    }

    /// The SPIFFE ID; one at the most, as X.509-SVID demands.
    #[must_use]
    pub fn spiffe(&self) -> Option<&SpiffeId> {
        self.spiffe.as_ref()
    }

    /// The e-mail addresses.
    #[must_use]
    pub fn emails(&self) -> &[Email] {
        &self.emails
    }

    /// The same client with a SPIFFE ID.
    #[must_use]
    pub fn with_spiffe(self, id: SpiffeId) -> Self {
        Self { spiffe: Some(id), ..self }
    }

    /// The same client with one more e-mail address.
    #[must_use]
    pub fn with_email(mut self, email: Email) -> Self {
        self.emails.push(email);
        self
    }

    /// The names as identity rules write them: `dns:…`, `uri:…`, `email:…`.
    #[must_use]
    pub fn typed_names(&self) -> Vec<String> {
        let mut names = vec![format!("dns:{}", self.name.dns())];
        names.extend(self.spiffe.iter().map(|id| format!("uri:{id}")));
        names.extend(self.emails.iter().map(|email| format!("email:{email}")));
        names
    }
}

impl From<ClientName> for ClientIdentity {
    fn from(name: ClientName) -> Self {
        Self { name, spiffe: None, emails: Vec::new() }
    }
}

impl FromStr for ClientIdentity {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        text.parse::<ClientName>().map(Self::from)
    }
}

/// A SPIFFE ID: `spiffe://TRUST-DOMAIN/PATH`, at the most 2048 bytes (SPIFFE-ID section 2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

impl FromStr for SpiffeId {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let refused = |reason| bad(text, reason, "write spiffe://example.test/name");
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| refused("is no SPIFFE ID"))?;
        if text.len() > 2048 {
            return Err(refused("is longer than 2048 bytes"));
        }
        let (domain, path) = rest.split_once('/').unwrap_or((rest, "-"));
        let domain_byte =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(domain_byte) {
            return Err(refused("has a trust domain that is no lower-case name"));
        }
        let path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        for segment in path.split('/') {
            if matches!(segment, "" | "." | "..") || !segment.bytes().all(path_byte) {
                return Err(refused("has a path segment that is empty, relative or not plain"));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<str> for SpiffeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An e-mail address: an ASCII dot-atom of at the most 64 bytes, `@`, a DNS name (RFC 5321; no quotes, no comments).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl FromStr for Email {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let refused = || bad(text, "is no e-mail address", "write name@example.test");
        let (local, domain) = text.split_once('@').ok_or_else(refused)?;
        let atom =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let atoms = |part: &str| !part.is_empty() && part.bytes().all(atom);
        if local.len() > 64 || !local.split('.').all(atoms) {
            return Err(refused());
        }
        check_dns(text, domain)?;
        Ok(Self(format!("{local}@{}", domain.to_ascii_lowercase())))
    }
}

impl AsRef<str> for Email {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of the world an authority may vouch for: a DNS name with everything below it, or a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subtree {
    /// The name and every name below it; without a leading dot or star.
    Dns(String),
    /// The network, without host bits.
    Net(IpNet),
}

impl Subtree {
    /// Whether the name is inside. A wildcard is inside where all it stands for is.
    #[must_use]
    pub fn covers(&self, host: &HostName) -> bool {
        match (self, &host.0) {
            (Self::Net(net), Host::Ip(address)) => net.contains(address),
            (Self::Dns(top), Host::Dns(name)) => {
                let name = name.strip_prefix("*.").unwrap_or(name);
                name.strip_suffix(top.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Net(_), Host::Dns(_)) | (Self::Dns(_), Host::Ip(_)) => false,
        }
    }
}

impl From<&HostName> for Subtree {
    /// Just this address, or this name and what is below it (for a wildcard: what the star hangs on).
    fn from(host: &HostName) -> Self {
        match &host.0 {
            Host::Dns(name) => Self::Dns(name.strip_prefix("*.").unwrap_or(name).to_owned()),
            Host::Ip(address) => Self::Net(IpNet::from(*address)),
        }
    }
}

impl FromStr for Subtree {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        if let Ok(net) = text.parse::<IpNet>() {
            if net.trunc() != net {
                let remedy = format!("write {}, or the address alone", net.trunc());
                return Err(bad(text, "names a host, not a network", &remedy));
            }
            return Ok(Self::Net(net));
        }
        if text.starts_with('*') {
            return Err(bad(
                text,
                "has a star, but covers all names below it anyway",
                "leave out the star",
            ));
        }
        text.parse::<HostName>().map(|host| Self::from(&host))
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// Checks a DNS name without a wildcard; `text` is what the operator wrote.
fn check_dns(text: &str, name: &str) -> Result<(), Problem> {
    let remedy = "write a DNS name such as app.test, or an address such as 192.0.2.7";
    if !name.is_ascii() {
        return Err(bad(text, "has letters outside ASCII", "write the name in its xn-- form"));
    }
    if name.len() > 253 {
        return Err(bad(text, "is longer than 253 bytes", remedy));
    }
    for label in name.split('.') {
        check_label(label).map_err(|reason| bad(text, reason, remedy))?;
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad(text, "ends in a number, but is no address", remedy));
    }
    Ok(())
}

fn check_label(label: &str) -> Result<(), &'static str> {
    if label.is_empty() {
        return Err("is empty, or has an empty part");
    }
    if label.len() > 63 {
        return Err("has a part longer than 63 bytes");
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err("has a part that begins or ends with a hyphen");
    }
    if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(
            "has a character other than letters, digits, hyphens and the dots between parts",
        );
    }
    Ok(())
}

fn bad(text: &str, reason: &str, remedy: &str) -> Problem {
    Problem::error(Fault::CertsBadName, format!("\"{}\" {reason}", PeerText::from(text)), remedy)
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
