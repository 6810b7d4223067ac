//! What a walk on paper needs: the configuration, the files it names, and what a running server adds.

use std::path::PathBuf;
use std::time::SystemTime;

use doorward::address::{Ban, BannedBy, Bans};
use doorward::admin::{Answer, Question, ask};
use doorward::config::{Config, ServiceConfig};
use doorward::handshake::{Handshake, Loaded};
use doorward::paper::{Hallway, Visitor, Walk};
use doorward::peer::PeerText;
use doorward::problem::Problem;
use doorward::server::status::{Banned, Status};
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Args;

/// Everything that stands still while visitors walk.
pub(super) struct Scene {
    pub(super) config: Config,
    handshake: Handshake,
    /// None where no running server was asked.
    bans: Option<Bans>,
}

impl Scene {
    pub(super) fn read(args: &Args) -> Result<Self, Vec<Problem>> {
        let (config, _) = Config::read(&args.config.config)?;
        let Loaded { handshake, .. } = Handshake::load(&config.handshake, UnixTime::now())?;
        Ok(Self { config, handshake, bans: None })
    }

    /// The same with the bans of a running server.
    pub(super) fn with_bans_of(self, status: &Status) -> Self {
        let mut bans = Bans::default();
        for banned in &status.bans {
            if let Some((network, ban)) = ban(banned) {
                bans.add(network, ban);
            }
        }
        Self { bans: Some(bans), ..self }
    }

    pub(super) fn service(&self, name: &str) -> Option<&ServiceConfig> {
        self.config.services.iter().find(|service| *service.name == *name)
    }

    pub(super) fn walk(&self, service: &ServiceConfig, visitor: &Visitor) -> Walk {
        let hallway = Hallway {
            service,
            services: &self.config.services,
            settings: &self.config.handshake,
            handshake: &self.handshake,
            bans: self.bans.as_ref(),
        };
        hallway.walk(visitor, UnixTime::now())
    }
}

fn ban(banned: &Banned) -> Option<(ipnet::IpNet, Ban)> {
    let until = OffsetDateTime::parse(&banned.until, &Rfc3339).ok()?;
    let why = PeerText::from(banned.why.as_str());
    let ban = Ban { until: SystemTime::from(until), why, by: BannedBy::from_word(&banned.by)? };
    Some((banned.network.parse().ok()?, ban))
}

/// The socket of the running server: the one that is named, or the one of the configuration.
pub(super) fn socket(args: &Args) -> Result<PathBuf, Problem> {
    match &args.socket {
        Some(socket) => Ok(socket.clone()),
        None => Config::admin_socket(&args.config.config),
    }
}

/// The state of the running server.
pub(super) fn status(socket: &std::path::Path) -> Result<Status, String> {
    match ask(socket, &Question::Status).map_err(|problem| problem.to_string())? {
        Answer::Status(status) => Ok(*status),
        Answer::Done(said) | Answer::Refused(said) => Err(said.join("; ")),
        Answer::Sockets(_) => Err("the server answered something else".to_owned()),
    }
}
