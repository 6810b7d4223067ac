//! What each refusal looks like in life, and which law of the house it comes from.

use doorward::refusal::Refusal;

/// A law, in the words of the table that the README has of them; some refusals come from none.
type Law = Option<&'static str>;

/// An example of a refusal, and the law behind it.
pub(super) struct Lesson {
    pub(super) example: &'static str,
    pub(super) law: Law,
}

/// The lesson of a refusal; every one has one.
pub(super) fn of(refusal: Refusal) -> Option<&'static Lesson> {
    LESSONS.iter().find(|(taught, _)| *taught == refusal).map(|(_, lesson)| lesson)
}

const fn lesson(refusal: Refusal, law: Law, example: &'static str) -> (Refusal, Lesson) {
    (refusal, Lesson { example, law })
}

const CERTIFICATE: Law = Some("No client without a certificate");
const LISTED: Law = Some("Nothing listed means nobody");
const BIND: Law = Some("No socket outside the policy");
const PERMISSION: Law = Some("A valid certificate is no permission");
const REVOCATION: Law = Some("Revocation cannot be slept through");
const SEATS: Law = Some("Strangers do not take members' seats");
const WAIT: Law = Some("Nobody can wait for ever");
const LENGTH: Law = Some("Nobody is believed about a length");
const SPELLING: Law = Some("An address has one spelling");
const LOG: Law = Some("A log line is one line");

/// In walking order.
const LESSONS: &[(Refusal, Lesson)] = &[
    lesson(
        Refusal::AcceptEvicted,
        SEATS,
        "A thousand sockets are opened and say nothing; the 513th pushes the first one out.",
    ),
    lesson(
        Refusal::AcceptSourceShare,
        SEATS,
        "One address holds 17 unfinished handshakes where per_source is 16.",
    ),
    lesson(
        Refusal::AcceptMembersFull,
        SEATS,
        "Clients keep their sessions open all day, and the 4,097th comes.",
    ),
    lesson(
        Refusal::AcceptDraining,
        None,
        "A client connects in the seconds after doorward drain or SIGTERM.",
    ),
    lesson(
        Refusal::AcceptOutOfScope,
        BIND,
        "scope loses \"eth1\" in a reload while a session on eth1's address is open.",
    ),
    lesson(
        Refusal::AcceptProxyMissing,
        SPELLING,
        "haproxy has send-proxy for the other backend only.",
    ),
    lesson(
        Refusal::AcceptProxyLate,
        WAIT,
        "The balancer opens connections in advance and keeps them silent.",
    ),
    lesson(
        Refusal::AcceptProxyTooLong,
        LENGTH,
        "A version 2 header that carries the client's whole certificate chain.",
    ),
    lesson(
        Refusal::AcceptProxyMalformed,
        SPELLING,
        "PROXY TCP4 010.0.0.1 10.0.0.2 9 443: no such address.",
    ),
    lesson(
        Refusal::AcceptProxyNotTcp,
        SPELLING,
        "PROXY UNKNOWN, which names nobody whom a list could judge.",
    ),
    lesson(Refusal::AcceptProxyLocal, LOG, "haproxy's check every two seconds."),
    lesson(
        Refusal::AcceptProxyLying,
        SPELLING,
        "A header from another machine that announces 127.0.0.1, which every list allows.",
    ),
    lesson(
        Refusal::AcceptProxyUnlisted,
        REVOCATION,
        "A balancer is taken out of from while its sessions are open.",
    ),
    lesson(
        Refusal::AddressNotListed,
        LISTED,
        "doorward explain --from 192.0.2.7 where allow = [\"10.0.0.0/8\"].",
    ),
    lesson(
        Refusal::AddressDenied,
        LISTED,
        "allow = [\"10.0.0.0/8\"] and deny = [\"10.1.0.0/16\"] meet 10.1.2.3.",
    ),
    lesson(
        Refusal::AddressBanned,
        REVOCATION,
        "doorward ban 192.0.2.0/24 --for 12h, and 192.0.2.7 knocks.",
    ),
    lesson(Refusal::HandshakeTimeout, WAIT, "nc HOST 8443, and nothing typed for five seconds."),
    lesson(Refusal::HandshakeClosed, CERTIFICATE, "nc -z HOST 8443: a port check."),
    lesson(
        Refusal::HandshakeNotTls,
        CERTIFICATE,
        "curl http://HOST:8443, or redis-cli without --tls.",
    ),
    lesson(
        Refusal::HandshakeVersion,
        CERTIFICATE,
        "openssl s_client -tls1_2 -connect HOST:8443 where versions is [\"1.3\"].",
    ),
    lesson(
        Refusal::HandshakeNoCommon,
        CERTIFICATE,
        "openssl s_client -groups ffdhe2048 -connect HOST:8443.",
    ),
    lesson(
        Refusal::HandshakeEarlyBytes,
        CERTIFICATE,
        "An SSLRequest of PostgreSQL with a query behind it in the same packet.",
    ),
    lesson(
        Refusal::HandshakeNoProtocol,
        CERTIFICATE,
        "openssl s_client -alpn h2 -connect HOST:8443 where alpn = [\"postgresql\"].",
    ),
    lesson(Refusal::HandshakeMalformed, LENGTH, "A record of TLS that announces more than 16 KiB."),
    lesson(
        Refusal::HandshakeClientAlert,
        None,
        "A client without trust.pem answers the server's certificate with unknown_ca.",
    ),
    lesson(
        Refusal::HandshakeNoCertificate,
        CERTIFICATE,
        "openssl s_client -connect HOST:8443 without -cert and -key.",
    ),
    lesson(
        Refusal::HandshakeUnknownAuthority,
        CERTIFICATE,
        "A self-signed certificate with the right name in it, or a chain without its intermediate.",
    ),
    lesson(
        Refusal::HandshakeExpired,
        REVOCATION,
        "A client that nobody renewed; doorward certs needs-renewal would have said so.",
    ),
    lesson(
        Refusal::HandshakeNotYetValid,
        REVOCATION,
        "A board without a battery starts in 1970 and issues itself a certificate.",
    ),
    lesson(
        Refusal::HandshakeWrongUsage,
        PERMISSION,
        "The certificate of a web server, whose key was stolen, shown as a client's.",
    ),
    lesson(
        Refusal::HandshakeKeyUsage,
        PERMISSION,
        "A certificate for keyEncipherment alone, as old RSA profiles made them.",
    ),
    lesson(
        Refusal::HandshakeRevoked,
        REVOCATION,
        "doorward certs revoke alice; alice's open sessions are cut too.",
    ),
    lesson(
        Refusal::HandshakeCrlExpired,
        REVOCATION,
        "The job that runs doorward certs crl stopped a month ago.",
    ),
    lesson(
        Refusal::HandshakeNoCrl,
        REVOCATION,
        "crl names the list of the root, and the client comes from an intermediate.",
    ),
    lesson(
        Refusal::HandshakeSignature,
        CERTIFICATE,
        "Somebody has alice's certificate, which is public, and not her key.",
    ),
    lesson(
        Refusal::HandshakeConstraint,
        PERMISSION,
        "An authority for .internal issues alice.example.com.",
    ),
    lesson(
        Refusal::HandshakeBadCertificate,
        CERTIFICATE,
        "A certificate signed with SHA-1, or bytes that are none.",
    ),
    lesson(
        Refusal::HandshakeOversized,
        LENGTH,
        "A certificate with a thousand names, each of which a rule would be compared with.",
    ),
    lesson(
        Refusal::IdentityNoName,
        PERMISSION,
        "openssl req -x509 -subj /CN=alice: a common name alone counts only where a rule says cn:.",
    ),
    lesson(
        Refusal::IdentityBadName,
        LOG,
        "dns:alice.internal followed by a zero byte and .evil.example.",
    ),
    lesson(
        Refusal::IdentityNotPermitted,
        PERMISSION,
        "bob's certificate is good, and permit = [\"dns:alice.client.internal\"].",
    ),
    lesson(
        Refusal::IdentityWrongNetwork,
        PERMISSION,
        "alice's certificate, copied to a machine outside from = [\"10.20.7.0/24\"].",
    ),
    lesson(
        Refusal::FrameTooLong,
        LENGTH,
        "ff ff ff ff: a length of 4 GiB, refused before a byte of it is kept.",
    ),
    lesson(Refusal::FrameTooShort, LENGTH, "00 00 00 00 where min is 1: an empty message."),
    lesson(Refusal::FrameTruncated, LENGTH, "00 00 00 05 h e l l, and the end of the connection."),
    lesson(Refusal::FrameNotUtf8, LOG, "A byte ff, or a surrogate written as three bytes."),
    lesson(Refusal::FrameNotAscii, LOG, "é where text = \"ascii\"."),
    lesson(
        Refusal::FrameControlCharacter,
        LOG,
        "ESC ]0;owned BEL, which would rename the terminal of whoever reads it.",
    ),
    lesson(Refusal::FrameBadJson, None, "{\"a\": }, or two values in one line."),
    lesson(
        Refusal::FrameTooDeep,
        LENGTH,
        "Ten thousand times [, which makes a parser that recurses run out of stack.",
    ),
    lesson(Refusal::FrameRate, SEATS, "A loop without a pause where rate = \"200/s\"."),
    lesson(Refusal::FrameFirst, WAIT, "A client that shows its certificate and says nothing."),
    lesson(Refusal::FrameIdle, WAIT, "One byte of a message every minute, to stay inside."),
    lesson(Refusal::ServiceBusy, SEATS, "The 65th caller where programs = 64 and none has ended."),
    lesson(Refusal::ServiceUnreachable, None, "to = \"127.0.0.1:6379\" while redis is stopped."),
    lesson(
        Refusal::ServiceTimeout,
        WAIT,
        "The upstream's own firewall drops the connection instead of refusing it.",
    ),
    lesson(
        Refusal::ServiceUntrusted,
        CERTIFICATE,
        "Somebody else listens at the upstream's address, with a certificate of its own.",
    ),
    lesson(
        Refusal::ServiceBadAnswer,
        LENGTH,
        "The upstream answers with plain text where messages have a length before them.",
    ),
    lesson(Refusal::ServiceStalled, WAIT, "A client asks for much and reads nothing of it."),
    lesson(Refusal::ServiceFailed, None, "The program behind kind = \"run\" ends with an error."),
    lesson(
        Refusal::ServiceRemoved,
        REVOCATION,
        "A reload without its [[service]], while sessions are open.",
    ),
    lesson(
        Refusal::ServiceLifetime,
        WAIT,
        "lifetime = \"8h\", and the session began nine hours ago.",
    ),
    lesson(
        Refusal::ServiceDrained,
        WAIT,
        "SIGTERM, and a session that goes on for longer than drain = \"10s\".",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_teaches_once_and_in_walking_order() {
        let taught: Vec<_> = LESSONS.iter().map(|(refusal, _)| *refusal).collect();
        assert_eq!(taught, Refusal::ALL, "a code has no example, or has two");
        let mut examples: Vec<_> = LESSONS.iter().map(|(_, lesson)| lesson.example).collect();
        assert!(examples.iter().all(|example| example.len() > 20));
        examples.sort_unstable();
        examples.dedup();
        assert_eq!(examples.len(), Refusal::ALL.len(), "two codes share an example");
    }

    #[test]
    fn a_law_is_one_of_the_house() {
        let readme = include_str!("../../../README.md");
        let laws: Vec<_> = LESSONS.iter().filter_map(|(_, lesson)| lesson.law).collect();
        assert!(laws.len() > 50, "{} refusals have a law", laws.len());
        for law in laws {
            assert!(readme.contains(&format!("| {law} |")), "{law}");
        }
    }
}
