//! One rule: these names, and optionally only from these networks.

use std::fmt;

use ipnet::IpNet;

use crate::handshake::{Name, Pin, Presented};
use crate::peer::PeerAddr;
use crate::place::Written;
use crate::problem::{Fault, Problem};

/// Names that may use a service, AND the networks they may come from.
#[derive(Clone, Debug)]
pub struct IdentityRule {
    names: Vec<Written<PermittedName>>,
    from: Option<Vec<IpNet>>,
}

impl IdentityRule {
    /// A rule that permits `names`, from anywhere the address gate admits or only `from` networks.
    ///
    /// An empty list of networks permits nobody.
    #[must_use]
    pub fn new(names: Vec<Written<PermittedName>>, from: Option<Vec<IpNet>>) -> Self {
        Self { names, from }
    }

    /// The names, each where it is written.
    #[must_use]
    pub fn names(&self) -> &[Written<PermittedName>] {
        &self.names
    }

    /// The networks, where the rule names some.
    #[must_use]
    pub fn from(&self) -> Option<&[IpNet]> {
        self.from.as_deref()
    }

    /// Whether it speaks of visitors from this address.
    #[must_use]
    pub fn covers(&self, peer: PeerAddr) -> bool {
        self.from
            .as_ref()
            .is_none_or(|from| from.iter().any(|network| network.contains(&peer.ip())))
    }
}

/// A name as a rule writes it: `dns:…`, `uri:…`, `email:…`, `cn:…` or `pin:sha256//…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PermittedName {
    /// A name the certificate must hold, of the same type and the same from end to end.
    Name(Name),
    /// The public key the certificate must hold. It comes in addition to a trusted chain.
    Pin(Pin),
}

impl PermittedName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Fault::IdentityBadName`] for a missing or unknown type, a pattern, a name that no certificate
    /// can hold, or a pin that is no SHA-256.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let Some((kind, name)) = text.split_once(':') else {
            let remedy =
                format!("say what kind of name it is: \"dns:{text}\", uri:, email:, cn: or pin:");
            return Err(bad(text, "has no type", remedy));
        };
        if name.is_empty() || name.len() > 255 {
            return Err(bad(text, "is empty or longer than 255 bytes", "write the whole name"));
        }
        match kind {
            "dns" => dns(text, name),
            "uri" => uri(text, name),
            "email" => email(text, name),
            "cn" => common(text, name),
            "pin" => pin(text, name),
            _ => Err(bad(
                text,
                "has an unknown type",
                "write dns:, uri:, email:, cn: or pin: before the name",
            )),
        }
    }

    /// Whether the certificate is the one meant.
    #[must_use]
    pub fn matches(&self, presented: &Presented) -> bool {
        match self {
            PermittedName::Pin(pin) => *pin == presented.pin(),
            PermittedName::Name(name) if is_spiffe(name) => one_uri(presented) == Some(name),
            PermittedName::Name(name) => presented.names().contains(name),
        }
    }
}

fn is_spiffe(name: &Name) -> bool {
    matches!(name, Name::Uri(uri) if uri.starts_with(SPIFFE))
}

/// The X.509-SVID specification, section 2: exactly one URI, or the certificate is none of SPIFFE's.
fn one_uri(presented: &Presented) -> Option<&Name> {
    let mut uris = presented.names().iter().filter(|name| matches!(name, Name::Uri(_)));
    let only = uris.next()?;
    uris.next().is_none().then_some(only)
}

fn dns(text: &str, name: &str) -> Result<PermittedName, Problem> {
    if name.contains('*') {
        let remedy = "list every name; names are compared whole, so a pattern would match nothing";
        return Err(bad(text, "is a pattern", remedy));
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if !name.split('.').all(label) {
        let remedy = "write a host name such as dns:alice.client.internal, without a final dot";
        return Err(bad(text, "is no DNS name", remedy));
    }
    Ok(PermittedName::Name(Name::Dns(name.to_ascii_lowercase())))
}

fn uri(text: &str, name: &str) -> Result<PermittedName, Problem> {
    let scheme = name.split_once(':').map(|(scheme, _)| scheme);
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    if !scheme.is_some_and(is_scheme) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let remedy = "write a whole URI such as uri:spiffe://example.test/reporting";
        return Err(bad(text, "is no URI", remedy));
    }
    if name.contains('*') {
        return Err(bad(text, "is a pattern", "list every name; names are compared whole"));
    }
    Ok(PermittedName::Name(Name::Uri(name.to_owned())))
}

fn email(text: &str, name: &str) -> Result<PermittedName, Problem> {
    let whole =
        name.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if !whole || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad(text, "is no e-mail address", "write it whole: email:alice@example.test"));
    }
    Ok(PermittedName::Name(Name::Email(name.to_owned())))
}

fn common(text: &str, name: &str) -> Result<PermittedName, Problem> {
    if name.chars().any(char::is_control) {
        return Err(bad(text, "holds a control character", "write the common name as it is"));
    }
    Ok(PermittedName::Name(Name::Common(name.to_owned())))
}

fn pin(text: &str, name: &str) -> Result<PermittedName, Problem> {
    let pin = Pin::parse(name).ok_or_else(|| {
        let remedy = "write pin:sha256//BASE64 with the SHA-256 of the public key; a refusal in the log prints it";
        bad(text, "is no pin", remedy)
    })?;
    Ok(PermittedName::Pin(pin))
}

fn bad(text: &str, why: &str, remedy: impl Into<String>) -> Problem {
    Problem::error(Fault::IdentityBadName, format!("{text:?} {why}"), remedy)
}

impl fmt::Display for PermittedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PermittedName::Name(name) => name.fmt(f),
            PermittedName::Pin(pin) => write!(f, "pin:{pin}"),
        }
    }
}

const SPIFFE: &str = "spiffe://";

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(text: &str) -> String {
        PermittedName::parse(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_rule_name_is_shown_as_it_is_written() {
        for text in [
            "dns:alice.client.internal",
            "uri:spiffe://example.test/reporting",
            "email:alice@example.test",
            "cn:Alice Example",
            "pin:sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ] {
            assert_eq!(PermittedName::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_dns_name_means_the_same_in_any_case() {
        let name = PermittedName::parse("dns:Alice.Client.Internal").unwrap();
        assert_eq!(name.to_string(), "dns:alice.client.internal");
    }

    #[test]
    fn what_could_never_match_is_refused() {
        assert_eq!(flaw("alice"), "\"alice\" has no type");
        assert_eq!(flaw("user:alice"), "\"user:alice\" has an unknown type");
        assert_eq!(flaw("dns:*.internal"), "\"dns:*.internal\" is a pattern");
        assert_eq!(flaw("dns:alice."), "\"dns:alice.\" is no DNS name");
        assert_eq!(flaw("dns:alice bob"), "\"dns:alice bob\" is no DNS name");
        assert_eq!(flaw("uri:alice"), "\"uri:alice\" is no URI");
        assert_eq!(flaw("email:alice"), "\"email:alice\" is no e-mail address");
        assert_eq!(flaw("pin:sha256//AAAA"), "\"pin:sha256//AAAA\" is no pin");
        assert_eq!(flaw("cn:"), "\"cn:\" is empty or longer than 255 bytes");
    }
}
