//! Which attacks there are, in walking order, and where each must end.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::refusal::Refusal;

macro_rules! attacks {
    ($($variant:ident, $word:literal, $room:literal, [$($ends:ident),*], $sentence:literal;)+) => {
        /// An attack on one's own server. The list is closed; each word is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Attack {
            $(#[doc = concat!("`", $word, "`: ", $sentence)] $variant,)+
        }

        impl Attack {
            /// Every attack there is, in the order of the rooms.
            pub const ALL: &'static [Attack] = &[$(Attack::$variant,)+];

            /// The word for it on a command line and in a report.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Attack::$variant => $word,)+ }
            }

            /// The room that must stop it: one of the hallway, or `bind` or `admin`.
            #[must_use]
            pub fn room(self) -> &'static str {
                match self { $(Attack::$variant => $room,)+ }
            }

            /// The reasons it may be refused for, the usual one first. None where no visitor is refused,
            /// but something else must not happen.
            #[must_use]
            pub fn ends(self) -> &'static [Refusal] {
                match self { $(Attack::$variant => &[$(Refusal::$ends,)*],)+ }
            }

            /// How it must end, in words: a code where a visitor is refused.
            #[must_use]
            pub fn must_end(self) -> &'static str {
                match (self.ends(), self) {
                    ([usual, ..], _) => usual.code(),
                    ([], Attack::PortTheft) => "the port is not shared",
                    ([], Attack::Tickets) => "no ticket",
                    ([], Attack::Resumption | Attack::ResumptionTls12) => "a full handshake",
                    ([], Attack::EarlyData) => "no early data",
                    ([], _) => "no answer",
                }
            }

            /// What the attacker does, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Attack::$variant => $sentence,)+ }
            }
        }
    };
}

attacks! {
    PortTheft, "port-theft", "bind", [],
        "A second process opens the same port with SO_REUSEPORT.";
    IdleStrangers, "idle-strangers", "accept", [AcceptSourceShare, AcceptEvicted],
        "One address opens a connection more than its share, and says nothing on any.";
    UnlistedSource, "unlisted-source", "address", [AddressNotListed],
        "A permitted client comes from an address that no rule allows.";
    DeniedSource, "denied-source", "address", [AddressDenied],
        "A permitted client comes from an address that a rule denies.";
    MappedTwin, "mapped-twin", "address", [AddressNotListed, AddressDenied],
        "An address that may not knock comes spelled as an IPv4-mapped IPv6 address.";
    PlainText, "plain-text", "handshake", [HandshakeNotTls],
        "HTTP without TLS.";
    ProxyHeader, "proxy-header", "handshake", [HandshakeNotTls],
        "A header of the PROXY protocol from an address that is no listed balancer's.";
    Sslv2, "sslv2", "handshake", [HandshakeNotTls, HandshakeMalformed],
        "A greeting of SSL 2.0.";
    Tls11, "tls-1-1", "handshake", [HandshakeVersion],
        "A client that speaks TLS 1.1 at the most.";
    Tls12, "tls-1-2", "handshake", [HandshakeVersion],
        "A permitted client that speaks TLS 1.2 at the most.";
    NoCommonGroup, "no-common-group", "handshake", [HandshakeNoCommon],
        "A client that offers one rare key exchange.";
    OtherProtocol, "other-protocol", "handshake", [HandshakeNoProtocol],
        "A permitted client that offers another protocol (ALPN).";
    BrokenMessage, "broken-message", "handshake", [HandshakeMalformed],
        "A handshake message that contradicts itself.";
    HugeHello, "huge-hello", "handshake", [HandshakeMalformed],
        "A ClientHello that announces 16 MiB.";
    Silence, "silence", "handshake", [HandshakeTimeout],
        "A connection that says nothing.";
    Drips, "drips", "handshake", [HandshakeTimeout],
        "A handshake that comes a byte at a time and has no end.";
    NoCertificate, "no-certificate", "handshake", [HandshakeNoCertificate],
        "A client without a certificate.";
    SelfSigned, "self-signed", "handshake", [HandshakeUnknownAuthority],
        "A permitted name in a certificate that signed itself.";
    OtherAuthority, "other-authority", "handshake", [HandshakeUnknownAuthority, HandshakeSignature],
        "A permitted name from a throw-away authority, which has the name of a development authority.";
    Expired, "expired", "handshake", [HandshakeExpired],
        "A permitted name in a certificate that ended yesterday.";
    NotYetValid, "not-yet-valid", "handshake", [HandshakeNotYetValid],
        "A permitted name in a certificate that begins tomorrow.";
    Revoked, "revoked", "handshake", [HandshakeRevoked],
        "A certificate of the store that is revoked, with its key.";
    ServerCertificate, "server-certificate", "handshake", [HandshakeWrongUsage],
        "The server's own certificate, shown as a client's.";
    NoClientUsage, "no-client-usage", "handshake", [HandshakeWrongUsage],
        "A permitted name in a certificate that does not say it is for clients.";
    CodeSigning, "code-signing", "handshake", [HandshakeWrongUsage],
        "A permitted name in a certificate for signing code.";
    WrongKeyUsage, "wrong-key-usage", "handshake", [HandshakeKeyUsage],
        "A permitted name in a certificate whose key may not sign.";
    ClaimsAuthority, "claims-authority", "handshake", [HandshakeConstraint],
        "A permitted name in a certificate that says it is an authority.";
    CriticalMystery, "critical-mystery", "handshake", [HandshakeBadCertificate],
        "A permitted name in a certificate with a critical extension that nobody knows.";
    StolenCertificate, "stolen-certificate", "handshake", [HandshakeSignature],
        "A permitted certificate, shown without its key.";
    LongChain, "long-chain", "handshake", [HandshakeOversized],
        "A permitted certificate with six more behind it.";
    HugeChain, "huge-chain", "handshake", [HandshakeOversized],
        "A permitted certificate with 20,000 bytes of rubbish behind it.";
    GarbageInChain, "garbage-in-chain", "handshake", [HandshakeBadCertificate],
        "A permitted certificate with 200 bytes of rubbish behind it.";
    ManyNames, "many-names", "handshake", [HandshakeOversized],
        "A permitted name among 100 names of one certificate.";
    LongName, "long-name", "handshake", [HandshakeOversized],
        "A permitted name beside a common name of 30,000 bytes.";
    Tickets, "tickets", "handshake", [],
        "A permitted client waits for a ticket that would let it resume its session.";
    Resumption, "resumption", "handshake", [],
        "A permitted client comes again and tries to resume its session.";
    ResumptionTls12, "resumption-tls-1-2", "handshake", [],
        "The same in TLS 1.2.";
    EarlyData, "early-data", "handshake", [],
        "A permitted client comes again and speaks before the handshake is done.";
    WrongName, "wrong-name", "identity", [IdentityNotPermitted],
        "A valid certificate whose name no rule permits.";
    CommonNameOnly, "common-name-only", "identity", [IdentityNoName],
        "A permitted name, in the common name alone.";
    NamePrefix, "name-prefix", "identity", [IdentityNotPermitted],
        "A permitted name with a letter before it.";
    NameSuffix, "name-suffix", "identity", [IdentityNotPermitted, HandshakeConstraint],
        "A permitted name with more behind it.";
    NameOfOtherType, "name-of-other-type", "identity", [IdentityNotPermitted],
        "A permitted name, as a name of another type.";
    NameInCapitals, "name-in-capitals", "identity", [IdentityNotPermitted],
        "A permitted URI or e-mail address in capitals.";
    ZeroInName, "zero-in-name", "identity", [IdentityBadName, HandshakeBadCertificate],
        "A permitted name, a zero byte, and another name.";
    ControlInName, "control-in-name", "identity", [IdentityBadName, HandshakeBadCertificate],
        "A permitted name beside a common name that clears a terminal.";
    NoTextInName, "no-text-in-name", "identity", [IdentityBadName, HandshakeBadCertificate],
        "A permitted name beside one that is no text.";
    WrongNetwork, "wrong-network", "identity", [IdentityWrongNetwork],
        "A permitted name from a network that its rule leaves out.";
    TooLong, "too-long", "frame", [FrameTooLong],
        "A message one byte longer than may be.";
    LengthLie, "length-lie", "frame", [FrameTooLong],
        "A message that is announced as long as a length can say, of which one byte comes.";
    Truncated, "truncated", "frame", [FrameTruncated],
        "Half a message, and a proper end.";
    TooShort, "too-short", "frame", [FrameTooShort],
        "A message of no bytes.";
    NoText, "no-text", "frame", [FrameNotUtf8, FrameNotAscii],
        "A message that is not text.";
    ControlCharacter, "control-character", "frame", [FrameControlCharacter],
        "A message with an escape character.";
    BadJson, "bad-json", "frame", [FrameBadJson],
        "A line that is almost JSON.";
    TooDeep, "too-deep", "frame", [FrameTooDeep],
        "JSON nested a thousand deep.";
    RateBurst, "rate-burst", "frame", [FrameRate],
        "Messages faster than the rate, for longer than its burst.";
    SilentMember, "silent-member", "frame", [FrameFirst],
        "A permitted client that says nothing.";
    HalfOpen, "half-open", "frame", [FrameTruncated, ServiceStalled],
        "Half a message, and an end without TLS's goodbye.";
    AdminByOther, "admin-by-other", "admin", [],
        "Another user of this machine asks the admin socket.";
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|attack| attack.word() == text);
        found.ok_or_else(|| {
            let near = |attack: &&Attack| strsim::jaro_winkler(text, attack.word());
            let nearest = Self::ALL.iter().max_by(|one, other| near(one).total_cmp(&near(other)));
            match nearest.filter(|nearest| near(nearest) > 0.7) {
                Some(nearest) => format!("is no attack; did you mean {nearest}?"),
                None => "is no attack; doorward probe --list shows all".to_owned(),
            }
        })
    }
}

impl Serialize for Attack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_attack_has_a_word_of_its_own_and_is_found_by_it() {
        let words: BTreeSet<_> = Attack::ALL.iter().map(|attack| attack.word()).collect();
        assert_eq!(words.len(), Attack::ALL.len());
        for attack in Attack::ALL {
            assert_eq!(attack.word().parse(), Ok(*attack));
            assert!(attack.sentence().ends_with('.'), "{attack}");
        }
        assert_eq!(
            "expird".parse::<Attack>(),
            Err("is no attack; did you mean expired?".to_owned())
        );
    }

    #[test]
    fn an_attack_ends_in_its_room_as_a_rule() {
        for attack in Attack::ALL {
            let Some(usual) = attack.ends().first() else { continue };
            assert_eq!(usual.room().word(), attack.room(), "{attack}");
        }
    }
}
