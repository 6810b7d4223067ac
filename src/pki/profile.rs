//! What a certificate of an authority, a server and a client looks like, so that every strict verifier takes it.
//!
//! The shape is RFC 5280 as `OpenSSL -x509_strict`, Python 3.13, `GnuTLS`, NSS, Go and webpki read it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose, NameConstraints,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::peer::PeerText;
use crate::pki::credential::Facts;
use crate::pki::key::{Key, KeyType, identifier_of};
use crate::pki::name::{ClientIdentity, HostName, Subtree};
use crate::problem::{Fault, Problem};

/// What a certificate is for. A certificate has exactly one role.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It signs others.
    Authority,
    /// It stands for a host, and is no client.
    Server,
    /// It stands for a client, and is no server.
    Client,
}

impl Role {
    /// The word for it, as the inventory writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The longest life that is issued, in days.
    ///
    /// An authority: 10 years. A server: 199, one below what linters and browsers allow since March 2026.
    /// A client: 825, which strict platforms take as the bound for private authorities.
    #[must_use]
    pub fn longest_days(self) -> u32 {
        match self {
            Self::Authority => 3650,
            Self::Server => 199,
            Self::Client => 825,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How a server's or client's certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kind of its key.
    pub key: KeyType,
    /// Its life in days, from 1 to [`Role::longest_days`]; it never outlives its authority.
    pub days: u32,
}

impl Default for Options {
    /// P-256 and 90 days.
    fn default() -> Self {
        Self { key: KeyType::default(), days: 90 }
    }
}

/// For which names an authority may vouch. Written into its certificate, critical, and enforced by every verifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constraints {
    /// Nothing means every name.
    permitted: Option<Vec<Subtree>>,
}

impl Constraints {
    /// `localhost`, `test`, `internal`, `127.0.0.0/8` and `::1`: names that mean nothing on the Internet.
    ///
    /// Both kinds are always there, because a constraint on DNS names alone leaves addresses free.
    #[must_use]
    pub fn development() -> Self {
        let dns = ["localhost", "test", "internal"].map(|name| Subtree::Dns(name.to_owned()));
        let nets = [IpNet::V4(LOOPBACK_V4), IpNet::V6(LOOPBACK_V6)].map(Subtree::Net);
        Self { permitted: Some(dns.into_iter().chain(nets).collect()) }
    }

    /// No constraint: whoever steals the key can be any server to those who trust the authority.
    #[must_use]
    pub fn unconstrained() -> Self {
        Self { permitted: None }
    }

    /// The same, and `more`. What is listed already is not listed again.
    #[must_use]
    pub fn permitting(mut self, more: impl IntoIterator<Item = Subtree>) -> Self {
        if let Some(permitted) = &mut self.permitted {
            for subtree in more {
                if !permitted.contains(&subtree) {
                    permitted.push(subtree);
                }
            }
        }
        self
    }

    /// What an authority somebody made is held to, as far as it concerns hosts; for messages.
    pub(crate) fn of(permitted: Vec<Subtree>) -> Self {
        Self { permitted: Some(permitted) }
    }

    /// Whether an authority under these constraints may vouch for the name.
    #[must_use]
    pub fn permit(&self, host: &HostName) -> bool {
        self.permitted
            .as_ref()
            .is_none_or(|permitted| permitted.iter().any(|subtree| subtree.covers(host)))
    }

    /// Whether there is a kind of host, by name or by address, of which it may vouch for every one.
    ///
    /// A constraint on one kind says nothing of the other (RFC 5280 section 4.2.1.10).
    pub(crate) fn leave_any_host_free(&self) -> bool {
        let Some(permitted) = &self.permitted else { return true };
        let (mut names, mut nets) = (false, false);
        for subtree in permitted {
            match subtree {
                Subtree::Dns(name) if name.is_empty() => return true,
                Subtree::Net(net) if net.prefix_len() == 0 => return true,
                Subtree::Dns(_) => names = true,
                Subtree::Net(_) => nets = true,
            }
        }
        !(names && nets)
    }

    fn extension(&self) -> Option<NameConstraints> {
        let permitted = self.permitted.as_ref()?;
        let permitted = permitted.iter().map(general_subtree).collect();
        Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() })
    }
}

/// All of it is loopback (RFC 1122 section 3.2.1.3).
const LOOPBACK_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);

impl fmt::Display for Constraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(permitted) = &self.permitted else { return f.write_str("every name") };
        let words: Vec<_> = permitted.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(", "))
    }
}

/// The serial number of a certificate: positive, at the most 20 bytes, shown as lower-case hexadecimal.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A fresh one: 126 random bits, so that no two certificates share one, re-issued ones included.
    pub(crate) fn random() -> Result<Self, Problem> {
        let mut bytes = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|aws_lc_rs::error::Unspecified| {
            let remedy = "look at the system's random number generator";
            Problem::error(
                Fault::CertsCryptography,
                "no random serial number could be made",
                remedy,
            )
        })?;
        // The top bit clear keeps it positive, the next one set keeps it 16 bytes long.
        let [first, ..] = &mut bytes;
        *first = (*first & 0x7F) | 0x40;
        Ok(Self(bytes.to_vec()))
    }

    /// The serial number with these big-endian bytes; leading zeros do not count.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().skip_while(|byte| *byte == 0).collect())
    }

    /// The serial number of a certificate.
    ///
    /// # Errors
    /// [`Fault::CertsNotAuthority`] if it cannot be parsed.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Problem> {
        Facts::read(certificate).map(|facts| facts.serial)
    }

    /// The big-endian bytes, without leading zeros.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_rcgen(&self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.to_string()
    }
}

impl TryFrom<String> for Serial {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        text.parse()
    }
}

impl FromStr for Serial {
    type Err = Problem;

    /// Reads hexadecimal, with or without colons, as inspection tools print it.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let refused = || {
            let message = format!("\"{}\" is no serial number", PeerText::from(text));
            Problem::error(
                Fault::CertsBadName,
                message,
                "write it in hexadecimal, as the inventory shows it",
            )
        };
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        if digits.is_empty() || digits.len() > 40 || !digits.len().is_multiple_of(2) {
            return Err(refused());
        }
        let pairs = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            pair.bytes()
                .all(|byte| byte.is_ascii_hexdigit())
                .then(|| u8::from_str_radix(pair, 16).ok())?
        });
        let bytes: Option<Vec<u8>> = pairs.collect();
        bytes.map(|bytes| Self::from_bytes(&bytes)).ok_or_else(refused)
    }
}

/// From when until when a certificate is valid, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl Validity {
    /// `days` days that began five minutes ago, and never beyond `ceiling`.
    pub(crate) fn new(
        role: Role,
        days: u32,
        now: OffsetDateTime,
        ceiling: Option<OffsetDateTime>,
    ) -> Result<Self, Problem> {
        let longest = role.longest_days();
        let refused = || {
            let message =
                format!("{days} days are no lifetime for a certificate of this role: {role}");
            Problem::error(Fault::CertsBadOption, message, format!("choose 1 to {longest} days"))
        };
        if days == 0 || days > longest {
            return Err(refused());
        }
        // Both ends count, so the last second of the last day is the last one inside.
        let length = Duration::days(i64::from(days)).saturating_sub(Duration::SECOND);
        let whole = now.replace_nanosecond(0).map_err(|_| refused())?;
        let not_before = whole.checked_sub(CLOCK_SKEW).ok_or_else(refused)?;
        let not_after = not_before.checked_add(length).ok_or_else(refused)?;
        Ok(Self { not_before, not_after: ceiling.map_or(not_after, |last| not_after.min(last)) })
    }
}

/// How far the clock of a peer may be behind ours when it is shown a new certificate.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// The certificate of an authority. `below` is how many authorities may stand between it and a leaf.
pub(crate) fn authority(
    key: &Key,
    constraints: &Constraints,
    below: u8,
    validity: Validity,
) -> Result<CertificateParams, Problem> {
    let mut params = blank(validity)?;
    seal(&mut params, key);
    // The name holds a part of the key's identifier: two authorities never share a name, which would
    // send verifiers to the wrong one.
    let identifier = hex(&key.identifier());
    let short: String = identifier.chars().take(8).collect();
    params
        .distinguished_name
        .push(DnType::OrganizationName, DnValue::Utf8String("Doorward".to_owned()));
    let name = format!("Doorward authority {short}");
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = constraints.extension();
    Ok(params)
}

/// The certificate of a server: no common name, so that there is one place where a name can be.
pub(crate) fn server(names: &[HostName], validity: Validity) -> Result<CertificateParams, Problem> {
    first_of(names)?;
    let mut params = leaf(ExtendedKeyUsagePurpose::ServerAuth, validity)?;
    for name in names {
        let name = match (name.dns(), name.ip()) {
            (Some(dns), _) => SanType::DnsName(ia5(dns)?),
            (None, Some(address)) => SanType::IpAddress(address),
            (None, None) => continue,
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    Ok(params)
}

/// The certificate of a client: its name as common name and, for those who decide, as a DNS name.
pub(crate) fn client(
    identity: &ClientIdentity,
    validity: Validity,
) -> Result<CertificateParams, Problem> {
    let count = identity.typed_names().len();
    if count > MOST_NAMES {
        let message = format!("{count} names were given for a client");
        let remedy = format!("name {MOST_NAMES} at the most, which is what a handshake accepts");
        return Err(Problem::error(Fault::CertsBadName, message, remedy));
    }
    let mut params = leaf(ExtendedKeyUsagePurpose::ClientAuth, validity)?;
    let name = DnValue::Utf8String(identity.name().as_str().to_owned());
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(SanType::DnsName(ia5(&identity.name().dns())?));
    if let Some(id) = identity.spiffe() {
        params.subject_alt_names.push(SanType::URI(ia5(id.as_ref())?));
    }
    for email in identity.emails() {
        params.subject_alt_names.push(SanType::Rfc822Name(ia5(email.as_ref())?));
    }
    Ok(params)
}

/// The name a server is filed under, if it has as many names as it may have.
pub(crate) fn first_of(names: &[HostName]) -> Result<&HostName, Problem> {
    names.first().filter(|_| names.len() <= MOST_NAMES).ok_or_else(|| {
        let message = format!("{} names were given for a server", names.len());
        let remedy = format!("name 1 to {MOST_NAMES} hosts, such as localhost 127.0.0.1 ::1");
        Problem::error(Fault::CertsBadName, message, remedy)
    })
}

/// As many names as our own handshake accepts in one certificate.
pub(crate) const MOST_NAMES: usize = 64;

fn leaf(usage: ExtendedKeyUsagePurpose, validity: Validity) -> Result<CertificateParams, Problem> {
    let mut params = blank(validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params)
}

/// Ties a certificate to the key it is for.
///
/// The library's own way of making the identifier hashes more than the public bits, which linters do not know.
pub(crate) fn seal(params: &mut CertificateParams, key: &impl PublicKeyData) {
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier_of(key.der_bytes()));
}

/// Nothing but a fresh serial number and the dates; the library's defaults are 1975 to 4096 and a serial
/// number that repeats for the same key.
fn blank(validity: Validity) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(Serial::random()?.to_rcgen());
    params.not_before = validity.not_before;
    params.not_after = validity.not_after;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn general_subtree(subtree: &Subtree) -> GeneralSubtree {
    match subtree {
        Subtree::Dns(name) => GeneralSubtree::DnsName(name.clone()),
        Subtree::Net(IpNet::V4(net)) => GeneralSubtree::IpAddress(CidrSubnet::V4(
            net.network().octets(),
            net.netmask().octets(),
        )),
        Subtree::Net(IpNet::V6(net)) => GeneralSubtree::IpAddress(CidrSubnet::V6(
            net.network().octets(),
            net.netmask().octets(),
        )),
    }
}

fn ia5(text: &str) -> Result<rcgen::string::Ia5String, Problem> {
    rcgen::string::Ia5String::try_from(text).map_err(|error| {
        Problem::error(Fault::CertsBadName, error.to_string(), "write names in ASCII letters")
    })
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        for digit in [byte >> 4, byte & 0x0F] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
