//! Every "no" a room can say: a closed list, one variant a reason, one name from here to the log.

use std::borrow::Cow;
use std::fmt;

use crate::place::Place;

/// The rooms of the hallway, in walking order. One word each, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// Who may queue.
    Accept,
    /// Which address may knock.
    Address,
    /// Is it TLS, and whose certificate.
    Handshake,
    /// May this name use this service from here.
    Identity,
    /// Is each message well formed.
    Frame,
    /// What the visitor came for.
    Service,
}

impl Room {
    /// Every room that can say no, in walking order.
    pub const ALL: [Room; 6] =
        [Room::Accept, Room::Address, Room::Handshake, Room::Identity, Room::Frame, Room::Service];

    /// The word for the room in codes, configuration, logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Room::Accept => "accept",
            Room::Address => "address",
            Room::Handshake => "handshake",
            Room::Identity => "identity",
            Room::Frame => "frame",
            Room::Service => "service",
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

macro_rules! refusals {
    ($($variant:ident, $room:ident, $code:literal, $sentence:literal, $remedy:literal;)+) => {
        /// Why a visitor was turned away. The list is closed; each code is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Refusal {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Refusal {
            /// Every reason there is, in the order of the rooms.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$variant,)+];

            /// The stable code, `room.reason`.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Refusal::$variant => $code,)+ }
            }

            /// The room that says it.
            #[must_use]
            pub fn room(self) -> Room {
                match self { $(Refusal::$variant => Room::$room,)+ }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Refusal::$variant => $sentence,)+ }
            }

            /// What an operator can do about it, in one sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Refusal::$variant => $remedy,)+ }
            }
        }
    };
}

refusals! {
    AcceptEvicted, Accept, "accept.evicted",
        "It was the oldest unfinished handshake when all seats for strangers were taken.",
        "Raise strangers in [accept] if honest clients are hit; otherwise look for the network that fills the queue.";
    AcceptSourceShare, Accept, "accept.source-share",
        "It was the oldest unfinished handshake of a network that had used its whole share of seats.",
        "Raise per_source in [accept] if many honest clients share one address.";
    AcceptMembersFull, Accept, "accept.members-full",
        "The handshake was good, but every seat for authenticated sessions is taken.",
        "Raise members in [accept] and the descriptor limit with it, or shorten idle in the service's frame table.";
    AcceptDraining, Accept, "accept.draining",
        "The server is shutting down and takes nobody new.",
        "Connect again when the server is back.";
    AcceptOutOfScope, Accept, "accept.out-of-scope",
        "The bind policy changed, and the address of this host that the session came to is outside it now.",
        "Add the address or its interface to scope in [bind] if sessions may come to it.";
    AcceptProxyMissing, Accept, "accept.proxy-missing",
        "A balancer's connection did not begin with a header of the PROXY protocol.",
        "Let the balancer send it (send-proxy-v2), or take its address out of from in [service.balancers].";
    AcceptProxyLate, Accept, "accept.proxy-late",
        "The header of the PROXY protocol did not come whole within its deadline.",
        "Look at the balancer: it sends the header at once; raise deadline in [service.balancers] for a slow link.";
    AcceptProxyTooLong, Accept, "accept.proxy-too-long",
        "The header of the PROXY protocol is longer than it may be.",
        "Let the balancer leave whole certificates out of it; 2,048 bytes are understood.";
    AcceptProxyMalformed, Accept, "accept.proxy-malformed",
        "The header of the PROXY protocol cannot be understood, or its checksum is wrong.",
        "Look at the balancer, and at who else can connect from its address.";
    AcceptProxyNotTcp, Accept, "accept.proxy-not-tcp",
        "The header of the PROXY protocol is not about a TCP connection, or names no address.",
        "Let the balancer forward TCP, and name the client.";
    AcceptProxyLocal, Accept, "accept.proxy-local",
        "The balancer connected for itself: a health check.",
        "Nothing to do: it is counted, and written to the log only with DOORWARD_LOG=debug.";
    AcceptProxyLying, Accept, "accept.proxy-lying",
        "The header of the PROXY protocol announces an address that no visitor can come from.",
        "Look at who can connect from the balancer's address, and at the balancer.";
    AcceptProxyUnlisted, Accept, "accept.proxy-unlisted",
        "The session came through a balancer that is no longer listed.",
        "Add its address to from in [service.balancers] if it should be believed.";
    AddressNotListed, Address, "address.not-listed",
        "No allow rule covers the address.",
        "Add the address or its network to allow if it should get in.";
    AddressDenied, Address, "address.denied",
        "A deny rule covers the address and no more specific allow rule does.",
        "Remove the deny rule, or allow a more specific network inside it.";
    AddressBanned, Address, "address.banned",
        "The address is banned for a while.",
        "See why and until when with doorward ban --list; doorward ban --lift ends it early.";
    HandshakeTimeout, Handshake, "handshake.timeout",
        "The TLS handshake was not finished before its deadline.",
        "Look for a client that connects without speaking; raise deadline in [handshake] only for links that need it.";
    HandshakeClosed, Handshake, "handshake.closed",
        "The visitor left before the handshake was finished.",
        "Nothing to do for a port check or health check; a client's own log says why it left.";
    HandshakeNotTls, Handshake, "handshake.not-tls",
        "The first bytes were not TLS.",
        "Let the client speak TLS: through doorward connect, a TLS library or a tunnel.";
    HandshakeVersion, Handshake, "handshake.version",
        "The client offered no TLS version that is allowed here.",
        "Update the client to TLS 1.3; for an old one write versions = [\"1.2\", \"1.3\"] in [handshake].";
    HandshakeNoCommon, Handshake, "handshake.no-common",
        "Client and server share no cipher suite, key exchange group or signature scheme.",
        "Let the client offer AES-GCM or ChaCha20-Poly1305 with X25519 or P-256.";
    HandshakeEarlyBytes, Handshake, "handshake.early-bytes",
        "The visitor sent more before TLS than its protocol asks for.",
        "A client that does not wait for the answer to its request is broken, or somebody on the way adds to it.";
    HandshakeNoProtocol, Handshake, "handshake.no-protocol",
        "The client named no protocol that is spoken here (ALPN).",
        "Add the protocol to alpn of the service, or let the client name a right one.";
    HandshakeMalformed, Handshake, "handshake.malformed",
        "A TLS message was malformed, out of order or too large.",
        "A broken client or an attack: compare with a second client before looking further.";
    HandshakeClientAlert, Handshake, "handshake.client-alert",
        "The client ended the handshake with an alert of its own.",
        "The alert says what the client disliked; most often it does not trust the server's authority: give it trust.pem.";
    HandshakeNoCertificate, Handshake, "handshake.no-certificate",
        "The client showed no certificate.",
        "Give the client a certificate of an authority in clients, or keep it out.";
    HandshakeUnknownAuthority, Handshake, "handshake.unknown-authority",
        "No authority in clients vouches for the client's certificate.",
        "Issue the client a certificate from a trusted authority; check that the client sends its whole chain.";
    HandshakeExpired, Handshake, "handshake.expired",
        "A certificate in the client's chain is past its last day.",
        "Renew the certificate, or set the clock of the wrong side right.";
    HandshakeNotYetValid, Handshake, "handshake.not-yet-valid",
        "A certificate in the client's chain is not valid yet.",
        "Compare the clocks of the authority, the client and the server.";
    HandshakeWrongUsage, Handshake, "handshake.wrong-usage",
        "The certificate is not for clients: it lacks the extended key usage clientAuth.",
        "Issue a client certificate; a server certificate does not serve as one.";
    HandshakeKeyUsage, Handshake, "handshake.key-usage",
        "A certificate's key usage forbids what it was used for.",
        "A client needs digitalSignature, an authority keyCertSign: issue the certificate again with the right profile.";
    HandshakeRevoked, Handshake, "handshake.revoked",
        "A revocation list names the certificate.",
        "Issue a new certificate if the client should still get in.";
    HandshakeCrlExpired, Handshake, "handshake.crl-expired",
        "The revocation list of the issuer is past its next update, so nobody's status is known.",
        "Publish a fresh revocation list; the running server reads it within seconds.";
    HandshakeNoCrl, Handshake, "handshake.no-crl",
        "Revocation is checked, but no list covers the issuer of the certificate.",
        "Add the revocation list of that issuer to crl in [handshake].";
    HandshakeSignature, Handshake, "handshake.signature",
        "A signature is wrong: the chain's, or the client's proof that it holds the key.",
        "The certificate was altered, or the client uses a key that is not the certificate's.";
    HandshakeConstraint, Handshake, "handshake.constraint",
        "An authority in the chain vouches for more than it may: a name, a depth or a role outside its constraints.",
        "Issue from an authority whose name constraints and path length permit this certificate.";
    HandshakeBadCertificate, Handshake, "handshake.bad-certificate",
        "A certificate of the chain cannot be read or uses something that is not supported.",
        "Inspect the certificate and issue it again; weak and unknown algorithms are not accepted.";
    HandshakeOversized, Handshake, "handshake.oversized",
        "The chain is too large: too many certificates, too many names or too many bytes.",
        "Send a chain of at most 6 certificates, 16 KiB each, with at most 64 names of at most 255 bytes.";
    IdentityNoName, Identity, "identity.no-name",
        "The certificate holds no name that a rule could match.",
        "Issue the certificate with a DNS, URI or e-mail subject alternative name, or permit its key by pin.";
    IdentityBadName, Identity, "identity.bad-name",
        "A name in the certificate holds control bytes or is not what its type says.",
        "Do not trust the authority that signed this without asking it why.";
    IdentityNotPermitted, Identity, "identity.not-permitted",
        "The certificate is valid, but no rule of the service permits its names.",
        "Add the name to permit in [[service.identity]] if it may use the service.";
    IdentityWrongNetwork, Identity, "identity.wrong-network",
        "A rule permits the name, but not from this network.",
        "Add the network to from in that rule, or let the client come from a permitted one.";
    FrameTooLong, Frame, "frame.too-long",
        "A message is longer than max.",
        "Send smaller messages, or raise max in [service.frame].";
    FrameTooShort, Frame, "frame.too-short",
        "A message is shorter than min.",
        "Send whole messages, or lower min in [service.frame].";
    FrameTruncated, Frame, "frame.truncated",
        "The visitor ended the connection in the middle of a message.",
        "Look at the client: it announced more than it sent.";
    FrameNotUtf8, Frame, "frame.not-utf8",
        "A message is not valid UTF-8.",
        "Send UTF-8, or write text = \"any\" in [service.frame] for binary messages.";
    FrameNotAscii, Frame, "frame.not-ascii",
        "A message holds a byte outside ASCII.",
        "Send ASCII, or write text = \"utf-8\" in [service.frame].";
    FrameControlCharacter, Frame, "frame.control-character",
        "A message holds a control character that is not allowed.",
        "Send text without it, or list it in allow_control in [service.frame].";
    FrameBadJson, Frame, "frame.bad-json",
        "A line is not one well-formed JSON value.",
        "Send one whole JSON value a line (RFC 8259).";
    FrameTooDeep, Frame, "frame.too-deep",
        "A JSON value is nested deeper than depth.",
        "Send flatter values, or raise depth in [service.frame].";
    FrameRate, Frame, "frame.rate",
        "Messages came faster than rate for longer than its burst.",
        "Slow the client down, or raise rate in [service.frame].";
    FrameFirst, Frame, "frame.first",
        "No whole message came within the deadline for the first one.",
        "Send something at once, or raise first in [service.frame].";
    FrameIdle, Frame, "frame.idle",
        "No whole message came for longer than idle.",
        "Send something in time, reconnect when needed, or raise idle in [service.frame].";
    ServiceBusy, Service, "service.busy",
        "As many programs run as the service may have at once.",
        "Raise programs in [service.limits], or shorten idle in [service.frame] so that seats come free.";
    ServiceUnreachable, Service, "service.unreachable",
        "The service behind the door could not be reached.",
        "Start the upstream named in to, and check its address.";
    ServiceTimeout, Service, "service.timeout",
        "The service behind the door did not answer a connection attempt in time.",
        "Check the upstream named in to: it accepts no connection.";
    ServiceUntrusted, Service, "service.untrusted",
        "The server behind the door did not prove to be the one it should be.",
        "Compare trust, name and pin in [service.upstream] with the certificate that the upstream shows.";
    ServiceBadAnswer, Service, "service.bad-answer",
        "What the service behind the door answered is not a well-formed message.",
        "Look at the upstream; if its answers may differ from what clients say, write answers = \"as-they-are\".";
    ServiceStalled, Service, "service.stalled",
        "The visitor stopped reading its answers.",
        "Look at the client: it must read what it asked for.";
    ServiceFailed, Service, "service.failed",
        "The service ended the connection with an error of its own.",
        "Look at the service's own log.";
    ServiceRemoved, Service, "service.removed",
        "The service was taken out of the configuration.",
        "Put its [[service]] back if it was meant to stay; a new name is a new service.";
    ServiceLifetime, Service, "service.lifetime",
        "The session was as old as a session may be.",
        "Connect again; raise lifetime in [[service]] if sessions need longer.";
    ServiceDrained, Service, "service.drained",
        "The server was told to stop, and the session outlived its time to finish.",
        "Connect again when the server is back; raise drain in [server] if sessions need longer.";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Refusal {
    /// The reason with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
    }

    /// This reason, with nothing more to say.
    #[must_use]
    pub fn bare(self) -> Refused {
        Refused { refusal: self, detail: Cow::Borrowed(""), rule: None }
    }

    /// This reason with what was seen: numbers, or peer text that is already escaped.
    #[must_use]
    pub fn because(self, detail: impl Into<Cow<'static, str>>) -> Refused {
        Refused { refusal: self, detail: detail.into(), rule: None }
    }

    /// This reason, decided by the rule written at `place`.
    #[must_use]
    pub fn by_rule(self, place: Place) -> Refused {
        Refused { refusal: self, detail: Cow::Borrowed(""), rule: Some(place) }
    }
}

/// One "no", as a room says it: the reason, what was seen, and the rule that decided.
///
/// It is for the operator. The stranger is told nothing of it beyond a TLS alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    refusal: Refusal,
    detail: Cow<'static, str>,
    rule: Option<Place>,
}

impl Refused {
    /// The reason.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// The stable code of the reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.refusal.code()
    }

    /// What was seen, safe to print; empty where the reason says it all.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Where the deciding rule is written, if a written rule decided.
    #[must_use]
    pub fn rule(&self) -> Option<&Place> {
        self.rule.as_ref()
    }

    /// The same "no" with the rule that decided it.
    #[must_use]
    pub fn with_rule(mut self, place: Place) -> Self {
        self.rule = Some(place);
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if let Some(rule) = &self.rule {
            write!(f, " by {rule}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_unique_and_begins_with_its_room() {
        let codes: BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            let (room, reason) = refusal.code().split_once('.').unwrap();
            assert_eq!(room, refusal.room().word());
            assert!(
                reason.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            );
            assert_eq!(Refusal::from_code(refusal.code()), Some(*refusal));
        }
    }

    #[test]
    fn every_reason_is_one_sentence_with_one_remedy() {
        for refusal in Refusal::ALL {
            for text in [refusal.sentence(), refusal.remedy()] {
                assert!(text.ends_with('.'), "{refusal}: {text}");
                assert!(text.len() <= 160, "{refusal}: {text}");
            }
        }
    }

    #[test]
    fn the_list_is_in_walking_order() {
        let rooms: Vec<_> = Refusal::ALL.iter().map(|refusal| refusal.room()).collect();
        assert!(rooms.is_sorted());
    }
}
