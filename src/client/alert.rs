//! What an alert of the server means to the client that receives it (RFC 8446 section 6.2).

use rustls::AlertDescription;

use crate::refusal::Room;

/// The name the standard gives it, or its number.
pub(super) fn word(alert: AlertDescription) -> String {
    match known(alert) {
        Some(known) => known.word.to_owned(),
        None => format!("alert {}", u8::from(alert)),
    }
}

/// What it says of the client, as a clause.
pub(super) fn meaning(alert: AlertDescription) -> &'static str {
    known(alert).map_or("something went wrong in TLS", |known| known.meaning)
}

/// What to do about it.
pub(super) fn remedy(alert: AlertDescription) -> &'static str {
    known(alert).map_or("The server's log has the code.", |known| known.remedy)
}

/// The room that sends it.
pub(super) fn room(alert: AlertDescription) -> Option<Room> {
    known(alert).map(|known| known.room)
}

struct Known {
    word: &'static str,
    room: Room,
    meaning: &'static str,
    remedy: &'static str,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; other alerts say nothing of the client's certificate"
)]
fn known(alert: AlertDescription) -> Option<Known> {
    use AlertDescription as A;
    let handshake =
        |word, meaning, remedy| Some(Known { word, room: Room::Handshake, meaning, remedy });
    match alert {
        A::CertificateRequired => handshake(
            "certificate_required",
            "the handshake room wants a certificate, and the client had none it could show",
            "Show a certificate with a key of a kind that the server takes, such as ECDSA P-256.",
        ),
        A::CertificateExpired => handshake(
            "certificate_expired",
            "to the handshake room the client's certificate is expired, or not valid yet",
            "Renew it; if it is still valid, compare the clocks of both machines.",
        ),
        A::CertificateRevoked => handshake(
            "certificate_revoked",
            "the client's certificate is revoked",
            "Ask the authority for a new one, with a new key.",
        ),
        A::UnknownCA => handshake(
            "unknown_ca",
            "the handshake room trusts no authority that vouches for the client",
            "Show a certificate of an authority in the server's clients file; if it is one, the \
             server's revocation list may be missing or out of date.",
        ),
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => handshake(
            match alert {
                A::BadCertificate => "bad_certificate",
                A::UnsupportedCertificate => "unsupported_certificate",
                _ => "certificate_unknown",
            },
            "the handshake room does not accept the client's certificate",
            "See that it is one for clients; the server's log has the code.",
        ),
        A::DecryptError => handshake(
            "decrypt_error",
            "a signature of the client or of its certificate does not verify",
            "See that the certificate was signed by the authority in the server's clients file, and \
             not by an older one of the same name.",
        ),
        A::AccessDenied => Some(Known {
            word: "access_denied",
            room: Room::Identity,
            meaning: "the client's certificate is valid, but may not do this",
            remedy: "Ask the server's operator to permit the certificate's name for this service.",
        }),
        A::HandshakeFailure => handshake(
            "handshake_failure",
            "the two sides share no way to speak, or in TLS 1.2 the client showed no certificate",
            "Show a certificate; otherwise update the older side.",
        ),
        A::UnrecognisedName => handshake(
            "unrecognized_name",
            "the server does not know itself by the name that was dialled",
            "Dial the server by a name that its certificate holds.",
        ),
        _ => None,
    }
}
