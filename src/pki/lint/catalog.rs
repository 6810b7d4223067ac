//! Every lint there is: its code, how bad it is, who refuses it, and what to do.

use super::Verifier::{
    self, Apple, Doorward, Everyone, Go, OpenSsl, OpenSslStrict, Python313, Rustls,
};
use crate::problem::Severity::{self, Error, Warning};

macro_rules! lints {
    ($($variant:ident, $code:literal, $severity:ident, [$($refused:ident)*], $sentence:literal, $remedy:literal;)+) => {
        /// What can be wrong with a certificate, request or list. The list is closed; each code is a contract.
        ///
        /// Errors break a MUST of RFC 5280 or are refused by a verifier; warnings are unwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Lint {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Lint {
            /// Every lint there is.
            pub const ALL: &'static [Lint] = &[$(Lint::$variant,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Lint::$variant => $code,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Lint::$variant => $severity,)+ }
            }

            /// What is wrong, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Lint::$variant => $sentence,)+ }
            }

            /// What would fix it, in one sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Lint::$variant => $remedy,)+ }
            }

            /// Which verifiers are known to refuse it; none does not mean that all accept it.
            #[must_use]
            pub fn refused_by(self) -> &'static [Verifier] {
                match self { $(Lint::$variant => &[$($refused),*],)+ }
            }
        }
    };
}

lints! {
    Version, "lint.version", Error, [Rustls Doorward],
        "It is not of version 3, so it cannot say what it is for.",
        "Issue it again; every current tool makes version 3.";
    SerialNotPositive, "lint.serial-not-positive", Error, [Go],
        "The serial number is zero or negative.",
        "Issue it again with a random positive number.";
    SerialTooLong, "lint.serial-too-long", Error, [],
        "The serial number has more than 20 bytes.",
        "Issue it again with a number of 16 bytes.";
    SerialShort, "lint.serial-short", Warning, [],
        "The serial number has less than 64 bits, so it can be guessed and may repeat.",
        "Issue it again with a random number of 16 bytes.";
    DatesReversed, "lint.dates-reversed", Error, [Everyone],
        "It ends before it begins.",
        "Issue it again.";
    Expired, "lint.expired", Error, [Everyone],
        "It is past its last day.",
        "Renew it, or set the clock right.";
    NotYetValid, "lint.not-yet-valid", Error, [Everyone],
        "It is not valid yet.",
        "Compare the clocks of whoever issued it and of this machine.";
    ValidityLong, "lint.validity-long", Warning, [],
        "It is valid for long: above 200 days for a server, 825 for a client, or ten years for an authority.",
        "Renew more often; a stolen key is of use for as long.";
    ValidityTooLong, "lint.validity-too-long", Error, [Apple],
        "It is a server's and valid for more than 825 days.",
        "Issue it again for 90 days, and renew it.";
    WeakSignature, "lint.weak-signature", Error, [Rustls Doorward Go],
        "It is signed with MD5 or SHA-1, for which forgeries can be made.",
        "Issue it again with SHA-256.";
    WeakKey, "lint.weak-key", Error, [Rustls Doorward],
        "Its key is weak: below 112 bits of strength, as RSA below 2048 bits.",
        "Make a new key: P-256, Ed25519, or RSA with 3072 bits.";
    UnsupportedKey, "lint.unsupported-key", Error, [Rustls Doorward],
        "Its key is of a kind that few verifiers know.",
        "Make a new key: P-256, P-384, Ed25519 or RSA.";
    UnknownCritical, "lint.unknown-critical", Error, [Everyone],
        "It has a critical extension that is unknown here, so it must be refused.",
        "Issue it without the extension, or not critical.";
    DuplicateExtension, "lint.duplicate-extension", Error, [Rustls Doorward OpenSsl OpenSslStrict Python313 Go],
        "An extension is there twice.",
        "Issue it again with one of each.";
    UnreadableExtension, "lint.unreadable-extension", Error, [OpenSslStrict Python313],
        "An extension cannot be parsed.",
        "Issue it again with another tool.";
    MissingAki, "lint.missing-aki", Error, [OpenSslStrict Python313],
        "It does not say which key signed it: no authority key identifier.",
        "Issue it again with an authority key identifier.";
    AuthorityMissingSki, "lint.authority-missing-ski", Error, [OpenSslStrict Python313],
        "An authority does not name its key: no subject key identifier.",
        "Make the authority again with a subject key identifier.";
    MissingSki, "lint.missing-ski", Warning, [],
        "It does not name its key: no subject key identifier.",
        "Issue it again with a subject key identifier.";
    KeyIdentifierCritical, "lint.key-identifier-critical", Error, [Rustls Doorward OpenSslStrict Python313],
        "A key identifier is marked critical.",
        "Issue it again with key identifiers that are not critical.";
    EmptyIssuer, "lint.empty-issuer", Error, [OpenSslStrict Python313],
        "It does not say who issued it.",
        "Make an authority that has a name, and issue it again.";
    AuthorityNameless, "lint.authority-nameless", Error, [OpenSslStrict Python313],
        "An authority has no subject, so nothing it signs can say who issued it.",
        "Make an authority that has a name.";
    MissingSan, "lint.missing-san", Error, [Rustls Doorward Go],
        "It has no subject alternative name, so it stands for no host.",
        "Issue it again with the host's names as DNS and IP entries.";
    ClientWithoutSan, "lint.client-without-san", Warning, [],
        "A client's name is in the common name only, to which name constraints do not apply.",
        "Issue it again with a DNS, URI or e-mail name.";
    SanCritical, "lint.san-critical", Warning, [],
        "The alternative names are critical although there is a subject.",
        "Issue it again with alternative names that are not critical.";
    SanNotCritical, "lint.san-not-critical", Error, [OpenSslStrict Python313],
        "The subject is empty, but the alternative names are not critical.",
        "Issue it again with critical alternative names, or with a subject.";
    BadName, "lint.bad-name", Error, [],
        "An alternative name is not what its type says: empty, with spaces, control bytes, or of the wrong length.",
        "Issue it again with names as they are looked up.";
    CommonNameNotInSan, "lint.common-name-not-in-san", Warning, [],
        "The common name looks like a host's, but is no alternative name, so current verifiers ignore it or check constraints against it.",
        "Repeat it as an alternative name, or leave the common name out.";
    AuthorityNotCritical, "lint.authority-not-critical", Error, [OpenSslStrict Python313],
        "An authority's basic constraints are not critical.",
        "Make the authority again with critical basic constraints.";
    NoBasicConstraints, "lint.no-basic-constraints", Warning, [],
        "It does not say whether it is an authority: no basic constraints.",
        "Issue it again with critical basic constraints, CA:FALSE.";
    SignWithoutAuthority, "lint.sign-without-authority", Error, [OpenSslStrict Python313],
        "Its key usage lets it sign certificates, but it is no authority.",
        "Issue it again with digitalSignature only.";
    AuthorityNoKeyUsage, "lint.authority-no-key-usage", Error, [OpenSslStrict Python313],
        "An authority does not say what its key is for: no key usage.",
        "Make the authority again with keyCertSign and cRLSign.";
    AuthorityNoCertSign, "lint.authority-no-cert-sign", Error, [Doorward OpenSslStrict Python313],
        "An authority's key usage does not let it sign certificates.",
        "Make the authority again with keyCertSign and cRLSign.";
    AuthorityNoCrlSign, "lint.authority-no-crl-sign", Warning, [],
        "An authority may not sign revocation lists, so nothing it issued can be revoked.",
        "Make the authority again with keyCertSign and cRLSign.";
    KeyUsageNotCritical, "lint.key-usage-not-critical", Warning, [],
        "The key usage is not critical, so a verifier may overlook it.",
        "Issue it again with a critical key usage.";
    PathLengthOnLeaf, "lint.path-length-on-leaf", Error, [OpenSslStrict Python313],
        "It limits the length of a path, but signs no certificates.",
        "Issue it again with basic constraints of CA:FALSE alone.";
    NoPathLength, "lint.no-path-length", Warning, [],
        "An authority may sign authorities without end.",
        "Make the authority again with a path length of 0, or 1 with an intermediate.";
    Unconstrained, "lint.unconstrained", Warning, [],
        "A root may vouch for every name: who steals its key can be any server to those who trust it.",
        "Make the authority again with name constraints.";
    ConstraintsNotCritical, "lint.constraints-not-critical", Error, [],
        "The name constraints are not critical, so a verifier may overlook them.",
        "Make the authority again with critical name constraints.";
    ConstraintsOneKind, "lint.constraints-one-kind", Warning, [],
        "The name constraints permit DNS names or addresses only, which leaves the other kind free.",
        "Make the authority again with constraints for both kinds.";
    ConstraintsLeadingDot, "lint.constraints-leading-dot", Warning, [],
        "A DNS constraint begins with a dot, which verifiers read differently.",
        "Make the authority again without the dot.";
    ConstraintsEmpty, "lint.constraints-empty", Error, [],
        "The name constraints permit and exclude nothing, which RFC 5280 forbids.",
        "Make the authority again with names in the constraints, or without them.";
    ConstraintsOnLeaf, "lint.constraints-on-leaf", Error, [],
        "It has name constraints, but is no authority.",
        "Issue it again without name constraints.";
    UsageOnRoot, "lint.usage-on-root", Warning, [],
        "A root has an extended key usage, which verifiers read differently.",
        "Make the root again without it; intermediates may have one.";
    NoExtendedUsage, "lint.no-extended-usage", Warning, [Doorward],
        "It does not say whether it is for a server or a client; doorward takes no such client.",
        "Issue it again with serverAuth or clientAuth.";
    BothRoles, "lint.both-roles", Warning, [],
        "It is for servers and clients, so a stolen server key is a client too.",
        "Issue one certificate for each role.";
    AnyUsage, "lint.any-usage", Error, [Rustls Doorward],
        "It is for every usage there is.",
        "Issue it again with serverAuth or clientAuth.";
    EnciphermentOnSigner, "lint.encipherment-on-signer", Error, [],
        "Its key usage allows encryption to a key that can only sign.",
        "Issue it again with digitalSignature only.";
    NoDigitalSignature, "lint.no-digital-signature", Error, [Doorward],
        "Its key usage does not let it sign, as every TLS 1.3 handshake does.",
        "Issue it again with digitalSignature.";
    SelfSignedLeaf, "lint.self-signed-leaf", Warning, [],
        "Nobody vouches for it but itself.",
        "Let an authority issue it.";
    ChainOrder, "lint.chain-order", Error, [],
        "A certificate in the file did not issue the one before it.",
        "Write the own certificate first, then whoever issued it, and so on.";
    RootInChain, "lint.root-in-chain", Warning, [],
        "The chain holds its root, which the other side must have anyway.",
        "Leave the root out of the chain; hand it out as trust.pem.";
    OutlivesIssuer, "lint.outlives-issuer", Warning, [],
        "It outlives the authority that issued it.",
        "Issue it for as long as the authority is valid.";
    CrlVersion, "lint.crl-version", Error, [Rustls Doorward],
        "The revocation list is not of version 2.",
        "Publish it with a tool that writes version 2.";
    CrlNoNumber, "lint.crl-no-number", Error, [],
        "The revocation list has no number, so nobody can tell which one is newer.",
        "Publish it with a crlNumber that grows.";
    CrlNoAki, "lint.crl-no-aki", Error, [],
        "The revocation list does not say which key signed it: no authority key identifier.",
        "Publish it with an authority key identifier.";
    CrlNoNextUpdate, "lint.crl-no-next-update", Error, [Rustls Doorward],
        "The revocation list does not say when the next one comes.",
        "Publish it with a nextUpdate.";
    CrlStale, "lint.crl-stale", Error, [Everyone],
        "The revocation list is past its next update.",
        "Publish a fresh list: doorward certs crl.";
    CrlEmptyList, "lint.crl-empty-list", Warning, [],
        "The revocation list holds an empty sequence where RFC 5280 wants none.",
        "Publish it with a tool that leaves the sequence out.";
    RequestSignature, "lint.request-signature", Error, [],
        "The request is not signed by the key it is for.",
        "Make the request again with the key it is for.";
    RequestAuthority, "lint.request-authority", Warning, [],
        "The request asks to become an authority.",
        "Refuse it, or sign it with a tool that takes only names and key from a request.";
    RequestNoNames, "lint.request-no-names", Warning, [],
        "The request names no alternative name.",
        "Make the request with the host's names, or give them when it is signed.";
}
