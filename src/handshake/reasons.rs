//! What rustls says of a failed handshake, in our words.

use std::io;

use rustls::{CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::refusal::{Refusal, Refused};

/// The reason behind an error of the TLS stream.
pub(super) fn of(error: &io::Error) -> Refused {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None => Refusal::HandshakeClosed.because(error.kind().to_string()),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is new there is a malformed message to us, and a refusal"
)]
pub(super) fn of_tls(error: &Error) -> Refused {
    match error {
        Error::NoCertificatesPresented => Refusal::HandshakeNoCertificate.bare(),
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidCertRevocationList(error) => {
            Refusal::HandshakeNoCrl.because(format!("the list cannot be used: {error:?}"))
        }
        Error::NoApplicationProtocol => Refusal::HandshakeNoProtocol.bare(),
        Error::PeerIncompatible(reason) => of_incompatible(reason),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Refusal::HandshakeNotTls.bare()
        }
        Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            Refusal::HandshakeVersion.bare()
        }
        Error::AlertReceived(alert) => Refusal::HandshakeClientAlert.because(format!("{alert:?}")),
        other => Refusal::HandshakeMalformed.because(other.to_string()),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; all but the versions are things the two sides do not share"
)]
fn of_incompatible(reason: &PeerIncompatible) -> Refused {
    let refusal = match reason {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        // The extension came with TLS 1.2; only an older client leaves it out (RFC 5246 section 7.4.1.4.1).
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => Refusal::HandshakeVersion,
        _ => Refusal::HandshakeNoCommon,
    };
    refusal.because(format!("{reason:?}"))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is new there is a certificate we do not accept"
)]
fn of_certificate(error: &CertificateError) -> Refused {
    use CertificateError as E;
    match error {
        E::Expired => Refusal::HandshakeExpired.bare(),
        E::ExpiredContext { not_after, .. } => {
            Refusal::HandshakeExpired.because(format!("since {}", date(not_after.as_secs())))
        }
        E::NotValidYet => Refusal::HandshakeNotYetValid.bare(),
        E::NotValidYetContext { not_before, .. } => {
            Refusal::HandshakeNotYetValid.because(format!("before {}", date(not_before.as_secs())))
        }
        E::Revoked => Refusal::HandshakeRevoked.bare(),
        E::UnknownIssuer => Refusal::HandshakeUnknownAuthority.bare(),
        E::UnknownRevocationStatus => Refusal::HandshakeNoCrl.bare(),
        E::ExpiredRevocationList => Refusal::HandshakeCrlExpired.bare(),
        E::ExpiredRevocationListContext { next_update, .. } => {
            Refusal::HandshakeCrlExpired.because(format!("since {}", date(next_update.as_secs())))
        }
        E::BadSignature => Refusal::HandshakeSignature.bare(),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            Refusal::HandshakeWrongUsage.because("the extended key usage is for something else")
        }
        E::Other(other) => of_other(other.0.as_ref()),
        other => Refusal::HandshakeBadCertificate.because(format!("{other:?}")),
    }
}

fn of_other(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Refused {
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.clone();
    }
    match error.downcast_ref::<webpki::Error>() {
        Some(error) => of_webpki(error),
        None => Refusal::HandshakeBadCertificate.because(error.to_string()),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is non-exhaustive; what is new there is a certificate we do not accept"
)]
fn of_webpki(error: &webpki::Error) -> Refused {
    use webpki::Error as E;
    let refusal = match error {
        E::NameConstraintViolation
        | E::PathLenConstraintViolated
        | E::EndEntityUsedAsCa
        | E::CaUsedAsEndEntity
        | E::MaximumNameConstraintComparisonsExceeded
        | E::MalformedNameConstraint => Refusal::HandshakeConstraint,
        E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumPathDepthExceeded => Refusal::HandshakeOversized,
        _ => Refusal::HandshakeBadCertificate,
    };
    refusal.because(error.to_string())
}

/// A moment as a date people read, in UTC.
pub(crate) fn date(seconds: u64) -> String {
    let moment =
        i64::try_from(seconds).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    match moment {
        Some(moment) => {
            format!("{} {:02}:{:02} UTC", moment.date(), moment.hour(), moment.minute())
        }
        None => format!("second {seconds}"),
    }
}
