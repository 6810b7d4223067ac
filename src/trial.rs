//! A stricter policy on paper: what it would have refused of those who were let in.
//!
//! It has no say. A visitor walks through the rooms in force, and only who passed them all is judged on paper as well,
//! from what is known of it by then. Nobody gets in by it, and nobody is turned away.

use std::sync::Arc;

use rustls::ProtocolVersion;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::address::AddressGate;
use crate::frame::FramePolicy;
use crate::handshake::{Handshake, Versions};
use crate::identity::{Caller, IdentityGate};
use crate::refusal::{Refusal, Refused};

/// The gates that one service's visitors would meet.
#[derive(Clone, Debug)]
pub(crate) enum Trial {
    /// The same rooms, by other rules.
    Rooms(Rules),
    /// There would be no such service.
    NoService,
}

/// The rules of the rooms that can judge without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) address: Arc<AddressGate>,
    pub(crate) handshake: Handshake,
    pub(crate) versions: Versions,
    pub(crate) identity: Arc<IdentityGate>,
    pub(crate) frame: Arc<FramePolicy>,
}

impl Trial {
    /// Whether a caller with this chain would have been let in at `now`.
    pub(crate) fn judge(
        &self,
        caller: &Caller,
        chain: &[CertificateDer<'static>],
        now: UnixTime,
    ) -> Result<(), Refused> {
        let Trial::Rooms(rules) = self else { return Err(Refusal::ServiceRemoved.bare()) };
        rules.address.judge(caller.peer())?;
        let is_old = caller.tls_version() != Some(ProtocolVersion::TLSv1_3);
        if is_old && rules.versions == Versions::Tls13Only {
            return Err(Refusal::HandshakeVersion.bare());
        }
        rules.handshake.judge_again(chain, now)?;
        rules.identity.judge(caller.presented(), caller.peer())?;
        Ok(())
    }

    /// The rules that its messages would meet.
    pub(crate) fn frame(&self) -> Option<&Arc<FramePolicy>> {
        match self {
            Trial::Rooms(rules) => Some(&rules.frame),
            Trial::NoService => None,
        }
    }
}
