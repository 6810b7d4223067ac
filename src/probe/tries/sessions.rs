//! What an earlier session leaves behind: nothing may be resumed, because a policy may have changed since.

use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use crate::handshake::Versions;
use crate::probe::Probe;
use crate::probe::judge::{Outcome, Tried};
use crate::probe::visitor::{Entered, Seen};

/// What a visit left behind.
struct Left {
    tickets: u32,
    kind: Option<HandshakeKind>,
    early: bool,
}

impl Probe {
    pub(super) async fn tickets(&self) -> Tried {
        let config = Arc::new(self.tls_of(&[&TLS13], Some(&self.papers.honest))?);
        let left = self.come_and_go(&config).await?;
        Ok(match left.tickets {
            0 => Outcome::Held("no ticket".to_owned()),
            tickets => Outcome::NotHeld(format!("{tickets} tickets were given")),
        })
    }

    pub(super) async fn resumption(&self) -> Tried {
        let config = self.tls_of(&[&TLS13], Some(&self.papers.honest))?;
        self.come_again(config).await
    }

    pub(super) async fn resumption_tls_1_2(&self) -> Tried {
        if self.handshake.versions == Versions::Tls13Only {
            return Err("the configuration allows TLS 1.3 alone".to_owned());
        }
        self.come_again(self.tls_of(&[&TLS12], Some(&self.papers.honest))?).await
    }

    pub(super) async fn early_data(&self) -> Tried {
        let mut config = self.tls_of(&[&TLS13], Some(&self.papers.honest))?;
        config.enable_early_data = true;
        let config = Arc::new(config);
        self.come_and_go(&config).await?;
        Ok(if self.come_and_go(&config).await?.early {
            Outcome::NotHeld("early data was accepted".to_owned())
        } else {
            Outcome::Held("no early data".to_owned())
        })
    }

    async fn come_again(&self, config: ClientConfig) -> Tried {
        let config = Arc::new(config);
        self.come_and_go(&config).await?;
        Ok(match self.come_and_go(&config).await?.kind {
            Some(HandshakeKind::Resumed) => Outcome::NotHeld("the session was resumed".to_owned()),
            Some(_) => Outcome::Held("a full handshake".to_owned()),
            None => Outcome::NotHeld("no handshake".to_owned()),
        })
    }

    /// One honest visit, and what it left.
    async fn come_and_go(&self, config: &Arc<ClientConfig>) -> Result<Left, String> {
        let stream = self.greeted(self.papers.home).await?;
        let entered = self.shake_hands(config, stream).await?;
        let mut entered: Entered =
            entered.map_err(|met| format!("the honest client was not let in: {:?}", met.seen))?;
        // Tickets come after the handshake, at the latest with the first words.
        match self.say(&mut entered, &self.hello()).await {
            Seen::Words(_) | Seen::Open => {}
            end @ (Seen::Alert(_) | Seen::Ended | Seen::Broken(_)) => {
                return Err(format!("the honest client was not served: {end:?}"));
            }
        }
        let tls = entered.stream.get_ref().1;
        let (tickets, kind) = (tls.tls13_tickets_received(), tls.handshake_kind());
        Ok(Left { tickets, kind, early: tls.is_early_data_accepted() })
    }
}
