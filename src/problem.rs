//! What is wrong with a file or a machine before anybody knocks: place, code, reason, remedy.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::place::Place;

macro_rules! faults {
    ($($variant:ident, $code:literal, $sentence:literal;)+) => {
        /// Why a start is refused, or what is worth a warning. The list is closed; each code is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Fault {
            /// Every fault there is.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant,)+];

            /// The stable code, `room.fault`.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Fault::$variant => $code,)+ }
            }

            /// What it means in general, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Fault::$variant => $sentence,)+ }
            }
        }
    };
}

faults! {
    ConfigUnreadable, "config.unreadable", "A file of the configuration cannot be read.";
    ConfigSyntax, "config.syntax", "The file is not TOML.";
    ConfigUnknownKey, "config.unknown-key", "The key means nothing here.";
    ConfigMissingKey, "config.missing-key", "A key that has no default is not written.";
    ConfigWrongType, "config.wrong-type", "The value has another type than the key takes.";
    ConfigBadValue, "config.bad-value", "The value is outside what the key takes.";
    BindBadScope, "bind.bad-scope", "The scope is no known word, interface, address or network.";
    BindBadPorts, "bind.bad-ports", "A port range cannot be read, or is empty.";
    BindBadListen, "bind.bad-listen", "A listener is no address with a port.";
    BindDuplicate, "bind.duplicate", "Two listeners name the same socket.";
    BindOutsideScope, "bind.outside-scope", "A listener is outside the scope of the bind table.";
    BindPortNotAllowed, "bind.port-not-allowed", "A listener's port is outside the ports of the bind table.";
    BindUnknownInterface, "bind.unknown-interface", "No interface of this host has that name, or it has no address.";
    BindInUse, "bind.in-use", "Another process holds the address and port.";
    BindNoSuchAddress, "bind.no-such-address", "The address is not one of this host.";
    BindNotPermitted, "bind.not-permitted", "The system does not let this user open the port.";
    BindMoved, "bind.moved", "After bind, the socket was not where the policy allowed it.";
    BindFailed, "bind.failed", "The system could not open the socket.";
    BindInherited, "bind.inherited", "A descriptor that was handed over is not what a listener needs.";
    BindOpenToAll, "bind.open-to-all", "The scope is all: every network of this host may reach the listeners.";
    BindSocketPath, "bind.socket-path", "A unix socket cannot be made at its path: something is in the way, or others could replace it.";
    AcceptDescriptors, "accept.descriptors", "The limit on open files is too low for the budgets of the accept table.";
    AddressBadNetwork, "address.bad-network", "The text is no address and no network.";
    AddressHostBits, "address.host-bits", "The text names a host, not a network.";
    AddressLeadingZero, "address.leading-zero", "A part of the address begins with a zero, which some programs read as octal.";
    AddressMapped, "address.mapped", "An IPv4-mapped network would never match: visitors are judged by their IPv4 address.";
    AddressDuplicate, "address.duplicate", "The same network is listed twice.";
    AcceptBadBalancer, "accept.bad-balancer", "A network in [service.balancers] would let too many choose their address.";
    AddressListUnreadable, "address.list-unreadable", "A list file cannot be read.";
    AddressNobody, "address.nobody", "The list allows no address, so nobody gets in.";
    AddressOneFamily, "address.one-family", "The list covers one address family, the listeners both.";
    AddressTooManyBans, "address.too-many-bans", "As many networks are banned as may be.";
    AddressKernel, "address.kernel", "The kernel cannot filter visitors by the address list, so the server alone does.";
    AddressNotBanned, "address.not-banned", "The network is not banned.";
    HandshakeUnreadable, "handshake.unreadable", "A certificate, key or revocation file cannot be read.";
    HandshakeKeyExposed, "handshake.key-exposed", "The private key can be read by others than its owner.";
    HandshakeKeyMismatch, "handshake.key-mismatch", "The private key does not belong to the certificate.";
    HandshakeBadCertificate, "handshake.bad-server-certificate", "The server's certificate cannot be used.";
    HandshakeCertificateExpires, "handshake.certificate-expires", "The server's certificate is expired, not valid yet, or close to its last day.";
    HandshakeBadAnchor, "handshake.bad-anchor", "A certificate in clients is not fit to be an authority.";
    HandshakeBadCrl, "handshake.bad-crl", "A revocation list is not signed by an authority in clients, or cannot be used.";
    HandshakeStaleCrl, "handshake.stale-crl", "A revocation list is past its next update, or close to it.";
    HandshakeNoRevocation, "handshake.no-revocation", "No revocation list is configured: a lost key opens the door until its certificate expires.";
    HandshakeAuthorityKey, "handshake.authority-key", "The service could read the private key of the authority.";
    HandshakeOldVersion, "handshake.old-version", "TLS 1.2 is allowed.";
    IdentityBadName, "identity.bad-rule-name", "A name in permit cannot match anything.";
    IdentityDuplicate, "identity.duplicate", "The same name is permitted twice in one rule.";
    IdentityNobody, "identity.nobody", "The service permits no name, so nobody gets in.";
    IdentityCommonName, "identity.common-name", "A rule trusts a common name, to which name constraints do not apply.";
    FrameBounds, "frame.bounds", "The bounds of a frame contradict each other or its kind.";
    ServiceBadName, "service.bad-name", "A service's name is empty, too long, or taken.";
    ServiceBadUpstream, "service.bad-upstream", "The upstream in to is no address, name or unix socket, or lacks its certificates.";
    ServiceUpstreamCertificate, "service.upstream-certificate", "The certificate to show an upstream is expired, close to its last day, or not for clients.";
    ServiceBadCommand, "service.bad-command", "The program of a service cannot be found or run, or its directory not be entered.";
    ServiceUnkept, "service.unkept", "Nothing watches over the programs of a service, so their limits are not held.";
    ServiceNone, "service.none", "The configuration has no service, so there is nothing to guard.";
    AdminNoServer, "admin.no-server", "No server answers at the admin socket.";
    AdminNotUnderstood, "admin.not-understood", "The answer of the admin socket cannot be understood.";
    AdminNoSocket, "admin.no-socket", "The configuration names no admin socket, or this system has none.";
    AdminRefused, "admin.refused", "The running server does not do what it was asked over its admin socket.";
    AdminBadUser, "admin.bad-user", "A user of the admin socket does not exist on this machine.";
    ProbeNotOwn, "probe.not-own", "The probe attacks only what its configuration listens on, on this machine.";
    ProbeNoClient, "probe.no-client", "No client certificate is at hand that the service permits.";
    ServerStopping, "server.stopping", "The server is stopping, so it takes no orders.";
    AuditUnwritable, "audit.unwritable", "The audit log cannot be written.";
    AuditLocked, "audit.locked", "Another process writes to the audit log.";
    AuditBesideKey, "audit.beside-key", "The directory of the audit log holds the private key as well.";
    BansUnreadable, "bans.unreadable", "The state of the bans cannot be read, or is not what was written.";
    BansUnwritable, "bans.unwritable", "The state of the bans cannot be written.";
    SandboxOff, "sandbox.off", "The sandbox is switched off.";
    SandboxRoot, "sandbox.root", "The process runs as root, and stays root.";
    SandboxBadUser, "sandbox.bad-user", "The user or group to become cannot be had, or is root.";
    SandboxBadPath, "sandbox.bad-path", "A path of the sandbox table cannot be opened.";
    SandboxGap, "sandbox.gap", "A part of the sandbox cannot be had on this system.";
    SandboxFailed, "sandbox.failed", "The process could not give up what it should.";
    SandboxFileLost, "sandbox.file-lost", "A file of the configuration cannot be read from inside the sandbox.";
    SandboxNarrow, "sandbox.narrow", "A new configuration needs more than the sandbox gives.";
    CertsBadName, "certs.bad-name", "A name cannot stand in a certificate, or would match nothing there.";
    CertsBadOption, "certs.bad-option", "A key type, lifetime or reason is none that is issued.";
    CertsExists, "certs.exists", "Something is already where a new file would go.";
    CertsSymlink, "certs.symlink", "A path of the store is a symbolic link, so what is written could go anywhere.";
    CertsUnwritable, "certs.unwritable", "A file or directory of the store cannot be written.";
    CertsUnreadable, "certs.unreadable", "A file of the store cannot be read, or does not hold what it should.";
    CertsLocked, "certs.locked", "Another process is changing the store.";
    CertsNoAuthority, "certs.no-authority", "The directory holds no authority that could sign.";
    CertsNotAuthority, "certs.not-authority", "The certificate is not fit to sign others.";
    CertsPassphraseMissing, "certs.passphrase-missing", "The authority's key is encrypted, and no passphrase was given.";
    CertsWrongPassphrase, "certs.wrong-passphrase", "The passphrase does not open the authority's key.";
    CertsPassphraseExposed, "certs.passphrase-exposed", "The file of the passphrase can be read by others than its owner.";
    CertsKeyMismatch, "certs.key-mismatch", "The private key does not belong to the certificate.";
    CertsAuthorityExpired, "certs.authority-expired", "The authority is past its last day, or not valid yet.";
    CertsOutsideConstraints, "certs.outside-constraints", "The authority may not vouch for that name, role or depth.";
    CertsUnknown, "certs.unknown", "The store has issued no such certificate.";
    CertsCryptography, "certs.cryptography", "A key could not be made, or a signature not be written.";
    CertsBadRequest, "certs.bad-request", "A certificate signing request cannot be read, is not signed by its key, or asks for what is not issued.";
    CertsExpires, "certs.expires", "A certificate of the store is past its last day, or close to it.";
    CertsKeyTracked, "certs.key-tracked", "A private key of the store is under version control.";
    CertsNotShown, "certs.not-shown", "Nobody answered, or nobody showed a certificate.";
    CertsUnconstrained, "certs.unconstrained", "The authority may vouch for every name, and nobody said that this is meant.";
    CertsNotConfirmed, "certs.not-confirmed", "Nobody confirmed what would change outside of the store.";
    CertsTool, "certs.tool", "Another program that is needed is absent, or failed.";
    CertsTrustStore, "certs.trust-store", "A trust store is not there, is another user's, or holds something else in the place of the authority.";
    CertsUnnamedListener, "certs.unnamed-listener", "The server's certificate does not stand for an address that it listens on.";
    CertsNameUnheld, "certs.name-unheld", "A name that a service permits is in no client certificate of the store.";
    CertsClientUnused, "certs.client-unused", "A client certificate of the store that no service permits.";
    CertsClientRefused, "certs.client-refused", "A client that a service permits would be turned away in the handshake.";
    CertsInventoryMismatch, "certs.inventory-mismatch", "The files of the store and its inventory contradict each other.";
    TunnelNone, "tunnel.none", "The configuration has no tunnel, so there is nothing to open.";
    TunnelBadName, "tunnel.bad-name", "A tunnel's name is empty, too long, or taken.";
    TunnelBadTarget, "tunnel.bad-target", "What a tunnel leads to is no host with a port, or the server's name is none.";
    TunnelBadPin, "tunnel.bad-pin", "A pin is no SHA-256 of a public key.";
    TunnelBadCaller, "tunnel.bad-caller", "A rule on callers names no user or group of this machine.";
    TunnelCallers, "tunnel.callers", "The rules on callers cannot hold on a listener, or contradict each other.";
    TunnelAnyUser, "tunnel.any-user", "Every user of this machine may use the tunnel.";
    TunnelSocketMode, "tunnel.socket-mode", "The mode of a unix socket keeps out users that the rules let in.";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Whether a problem refuses the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The start is refused.
    Error,
    /// The start goes on; the operator should know.
    Warning,
}

/// One problem: where, which fault, what was seen, and what to do.
///
/// Shown as two lines, the first `FILE:LINE:COLUMN CODE message`, the second the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    severity: Severity,
    fault: Fault,
    place: Option<Place>,
    message: String,
    remedy: String,
}

impl Problem {
    /// A problem that refuses the start. `message` and `remedy` are a clause each, without a full stop.
    #[must_use]
    pub fn error(fault: Fault, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { severity: Severity::Error, fault, place: None, message, remedy }
    }

    /// A problem that is only worth knowing.
    #[must_use]
    pub fn warning(fault: Fault, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(fault, message, remedy) }
    }

    /// The same problem, at `place` unless it already has one of its own.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    /// Whether it refuses the start.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Which fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Where it is written.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What was seen.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place} ")?;
        }
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, "{} {warning}{}\n    {}", self.fault, self.message, self.remedy)
    }
}

impl std::error::Error for Problem {}

/// For programs: severity, code, place, message and remedy, each in a field of its own.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut object = serializer.serialize_struct("Problem", 7)?;
        object.serialize_field("severity", severity)?;
        object.serialize_field("code", self.fault.code())?;
        object.serialize_field("file", &self.place.as_ref().map(Place::file))?;
        object.serialize_field("line", &self.place.as_ref().map(Place::line))?;
        object.serialize_field("column", &self.place.as_ref().map(Place::column))?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("remedy", &self.remedy)?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Refusal;
    use std::collections::BTreeSet;

    #[test]
    fn every_fault_has_a_code_of_its_own_that_is_no_refusal() {
        let codes: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.code()).collect();
        assert_eq!(codes.len(), Fault::ALL.len());
        for code in codes {
            assert_eq!(Refusal::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn a_problem_names_place_code_reason_and_remedy() {
        let place = Place::new("doorward.toml".into(), 14, 11);
        let problem = Problem::error(
            Fault::AddressHostBits,
            "10.1.2.3/8 names a host, not a network",
            "write 10.0.0.0/8, or 10.1.2.3/32 for this one host",
        );
        assert_eq!(
            problem.at(&place).to_string(),
            "doorward.toml:14:11 address.host-bits 10.1.2.3/8 names a host, not a network\n    \
             write 10.0.0.0/8, or 10.1.2.3/32 for this one host"
        );
    }
}
