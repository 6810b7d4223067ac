//! Certificates with one thing wrong.

use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use crate::pki::{Authority, Draft, Usage};
use crate::probe::judge::Tried;
use crate::probe::papers::{Shown, blank, raw, shown, text, with_chain};
use crate::probe::{Attack, Probe};
use crate::problem::Problem;

impl Probe {
    /// Shows the certificate of this attack.
    pub(super) async fn show(&self, attack: Attack) -> Tried {
        let certificate = self.certificate(attack)?;
        Ok(self.visit(certificate.as_ref(), self.papers.home).await?.into())
    }

    fn certificate(&self, attack: Attack) -> Result<Option<Shown>, String> {
        let papers = &self.papers;
        let made = match attack {
            Attack::NoCertificate => return Ok(None),
            Attack::SelfSigned => shown(&self.named()?.self_signed().map_err(words)?),
            Attack::OtherAuthority => {
                let other = Authority::ephemeral().map_err(words)?;
                shown(&other.sign(&papers.draft()?).map_err(words)?)
            }
            Attack::Revoked => papers.revoked.clone(),
            Attack::ServerCertificate => papers.server.clone(),
            Attack::StolenCertificate => {
                let other = shown(&blank()?.self_signed().map_err(words)?)?;
                Ok(with_chain(&other, papers.honest.cert.clone()))
            }
            Attack::LongChain => Ok(self.behind(vec![papers.expected.clone(); 6])),
            Attack::HugeChain => Ok(self.behind(vec![rubbish(20_000)])),
            Attack::GarbageInChain => Ok(self.behind(vec![rubbish(200)])),
            _ => papers.forge(&self.flawed(attack)?),
        };
        made.map(Some)
    }

    /// The permitted name in a certificate that the server's authority would sign, but for one thing.
    fn flawed(&self, attack: Attack) -> Result<Draft, String> {
        let draft = self.papers.draft()?;
        Ok(match attack {
            Attack::Expired => draft.valid(days(-9), days(-1)),
            Attack::NotYetValid => draft.valid(days(1), days(9)),
            Attack::NoClientUsage => draft.extended_usages(&[]),
            Attack::CodeSigning => draft.extended_usages(&[Usage::CodeSigning]),
            Attack::WrongKeyUsage => draft.key_usage_of_encipherment(),
            Attack::ClaimsAuthority => draft.claiming_to_be_an_authority(),
            Attack::CriticalMystery => draft.with_unknown_critical_extension(),
            Attack::ManyNames => {
                let name = raw(&self.papers.name).ok_or("the service permits a common name")?;
                draft.names(&vec![name; 200])
            }
            Attack::LongName => draft.common_name(&[b'a'; 30_000]),
            _ => draft,
        })
    }

    /// The permitted name, with a subject: who signs itself needs one.
    fn named(&self) -> Result<Draft, String> {
        Ok(self.papers.draft()?.common_name(text(&self.papers.name).as_bytes()))
    }

    /// The honest certificate, with more behind it.
    fn behind(&self, more: Vec<CertificateDer<'static>>) -> Shown {
        let honest = &self.papers.honest;
        with_chain(honest, [honest.cert.clone(), more].concat())
    }
}

fn rubbish(length: usize) -> CertificateDer<'static> {
    CertificateDer::from(vec![0x30; length])
}

/// So many days before (negative) or after now.
fn days(count: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc().saturating_add(Duration::days(count))
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn words(problem: Problem) -> String {
    problem.message().to_owned()
}
