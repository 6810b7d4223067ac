//! The server's own certificate, renewed in time from the development store beside it, and the store's revocation
//! list, which lets nobody in once it has ended.
//!
//! Only who asks for it gets it, and only on a machine that nobody else reaches: the authority's key has to be
//! beside the service. The new files are picked up as any changed file is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::config::{Config, Renewal as Wanted};
use crate::connection::Closing;
use crate::pki::{Filed, Issued, Renewed, Store};
use crate::place::Place;
use crate::problem::{Fault, Problem};

/// Looks after the server's own certificate.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    directory: PathBuf,
    certificate: PathBuf,
    due: time::Duration,
    place: Place,
}

impl Renewal {
    /// What the configuration asks for, if it does.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let Wanted::WhenDue { due, place } = &config.certs.renewal else { return None };
        Some(Self {
            directory: config.certs.directory.value.clone(),
            certificate: config.handshake.certificate.value.clone(),
            due: time::Duration::try_from(*due).unwrap_or(time::Duration::MAX),
            place: place.clone(),
        })
    }

    /// Why the certificate could not be renewed when it is due. Nothing is changed.
    pub(super) fn check(config: &Config) -> Option<Problem> {
        let renewal = Self::of(config)?;
        if !config.bind.is_local() {
            let message = "renew in [certs] needs the authority's key beside the service, and the scope is wider than localhost";
            let remedy = "leave renew out, and run doorward certs renew where the key is kept";
            let problem = Problem::error(Fault::HandshakeAuthorityKey, message, remedy);
            return Some(problem.at(&renewal.place));
        }
        renewal.find().err().map(|problem| problem.at(&renewal.place))
    }

    /// Renews a certificate that has ended, with which nothing could start. Whatever is in the way of that, the
    /// start says itself.
    pub(super) fn revive(config: &Config) {
        let Some(renewal) = Self::of(config).filter(|_| Self::check(config).is_none()) else {
            return;
        };
        let ended = |filed: &Filed| filed.entry.issued.not_after < OffsetDateTime::now_utc();
        if renewal.find().is_ok_and(|(_, filed)| ended(&filed)) {
            tell(renewal.look().unwrap_or_default().as_ref());
        }
        if renewal.publish().unwrap_or(false) {
            tell_of_the_list();
        }
    }

    /// Looks at once and then every hour until the server drains; after a failure sooner, then less and less often.
    pub(super) async fn run(self, closing: Closing) {
        let mut backoff = Backoff::new(FIRST_RETRY, BETWEEN_LOOKS);
        loop {
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                if this.publish()? {
                    tell_of_the_list();
                }
                this.look()
            });
            let looked = tokio::select! {
                () = closing.drain.cancelled() => return,
                looked = looked => looked,
            };
            let wait = match looked {
                Ok(Ok(renewed)) => {
                    tell(renewed.as_ref());
                    backoff.reset();
                    BETWEEN_LOOKS
                }
                Ok(Err(problem)) => {
                    let (code, remedy) = (problem.fault().code(), problem.remedy());
                    tracing::error!(
                        code,
                        reason = problem.message(),
                        remedy,
                        "the server's certificate is not renewed"
                    );
                    backoff.next_wait()
                }
                Err(error) => {
                    tracing::error!(%error, "the look at the server's certificate broke off");
                    backoff.next_wait()
                }
            };
            tokio::select! {
                () = closing.drain.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Renews the certificate if it is due.
    fn look(&self) -> Result<Option<Renewed>, Problem> {
        let (store, filed) = self.find()?;
        let ends = filed.entry.issued.not_after;
        if ends > OffsetDateTime::now_utc().saturating_add(self.due) {
            return Ok(None);
        }
        if store.authority()?.not_after() <= ends {
            let message = format!("it ends on {}, and so does its authority", ends.date());
            let remedy = "make a new authority in another directory, and hand out its trust.pem";
            return Err(Problem::error(Fault::CertsExpires, message, remedy));
        }
        store.renew(&filed, None).map(Some)
    }

    /// Publishes the revocation list anew where less than a third of its time is left; whether it did.
    fn publish(&self) -> Result<bool, Problem> {
        let store = Store::open(&self.directory)?;
        let (began, ends) = store.revocations_last()?;
        let life = ends.saturating_sub(began);
        let left = ends.saturating_sub(OffsetDateTime::now_utc().unix_timestamp());
        if left.saturating_mul(3) >= life {
            return Ok(false);
        }
        store.publish_revocations().map(|()| true)
    }

    /// The store and the certificate in it, where it can be renewed.
    fn find(&self) -> Result<(Store, Filed), Problem> {
        let store = Store::open(&self.directory)?;
        if store.needs_passphrase()? {
            let message =
                "the authority's key is encrypted, and a server asks nobody for the passphrase";
            let remedy = "leave renew in [certs] out, and run doorward certs renew --due 30d from time to time";
            return Err(Problem::error(Fault::CertsPassphraseMissing, message, remedy));
        }
        store.authority()?;
        let shown = real(&self.certificate)?;
        let is_shown =
            |filed: &Filed| real(&filed.place.join("chain.pem")).is_ok_and(|path| path == shown);
        let filed = store.filed()?.into_iter().find(is_shown).ok_or_else(|| self.foreign())?;
        self.judge(&filed)?;
        Ok((store, filed))
    }

    fn judge(&self, filed: &Filed) -> Result<(), Problem> {
        let Issued { not_before, not_after, .. } = &filed.entry.issued;
        if filed.entry.revoked.is_some() {
            let message = format!(
                "{} is revoked, so it is not renewed by itself",
                self.certificate.display()
            );
            let remedy = "find out why it was revoked, then run doorward certs renew with its name";
            return Err(Problem::error(Fault::CertsInventoryMismatch, message, remedy));
        }
        let life = not_after.unix_timestamp().saturating_sub(not_before.unix_timestamp());
        if life <= self.due.whole_seconds() {
            let (due, life) = (days(self.due.whole_seconds()), days(life.saturating_add(1)));
            let message = format!(
                "due in [certs] is {due}, and the certificate lives {life}, so it would always be due"
            );
            let remedy = "write a third of its life, or issue it for longer";
            return Err(Problem::error(Fault::ConfigBadValue, message, remedy));
        }
        Ok(())
    }

    fn foreign(&self) -> Problem {
        let (shown, store) = (self.certificate.display(), self.directory.display());
        let message = format!(
            "{shown} is no certificate of the store {store}, so it cannot be renewed there"
        );
        let remedy = "name the directory of its store in [certs], or leave renew out";
        Problem::error(Fault::CertsUnknown, message, remedy)
    }
}

fn tell(renewed: Option<&Renewed>) {
    if let Some(Renewed { serial, not_after, .. }) = renewed {
        tracing::info!(%serial, until = %not_after.date(), "the server's certificate is renewed");
    }
}

fn tell_of_the_list() {
    tracing::info!("the revocation list is published anew");
}

/// The path without links and dots.
fn real(path: &Path) -> Result<PathBuf, Problem> {
    path.canonicalize().map_err(|error| {
        let message = format!("{} cannot be found: {error}", path.display());
        Problem::error(
            Fault::HandshakeUnreadable,
            message,
            "check the path, or make the file first",
        )
    })
}

/// A span as an operator writes it.
fn days(seconds: i64) -> String {
    match seconds % DAY {
        0 => format!("{}d", seconds / DAY),
        _ => format!("{}h", seconds / 3600),
    }
}

const DAY: i64 = 24 * 3600;
const BETWEEN_LOOKS: Duration = Duration::from_secs(3600);
/// Long enough for another process to finish with the store.
const FIRST_RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
#[cfg(unix)]
#[path = "renewal_tests.rs"]
mod tests;
