//! Certificates with one thing wrong.

use rustls::pki_types::CertificateDer;

use crate::pki::{Authority, Draft};
use crate::probe::Probe;
use crate::probe::judge::Tried;
use crate::probe::papers::{Shown, blank, raw, shown, text, with_chain, words};

impl Probe {
    /// Comes from where the honest client does, and shows this.
    pub(super) async fn show(&self, certificate: Result<Option<Shown>, String>) -> Tried {
        Ok(self.visit(certificate?.as_ref(), self.papers.home).await?.into())
    }

    /// Shows the permitted name in a certificate that the server's authority signed, with one flaw.
    pub(super) async fn flawed(&self, flaw: impl FnOnce(Draft) -> Draft) -> Tried {
        let forged = self.papers.draft().and_then(|draft| self.papers.forge(&flaw(draft)));
        self.show(forged.map(Some)).await
    }

    /// Shows the honest certificate, with more behind it.
    pub(super) async fn behind(&self, more: &[CertificateDer<'static>]) -> Tried {
        let honest = &self.papers.honest;
        let chain = [honest.cert.as_slice(), more].concat();
        self.show(Ok(Some(with_chain(honest, chain)))).await
    }

    pub(super) async fn many_names(&self) -> Tried {
        let name = raw(&self.papers.name).ok_or("the service permits a common name")?;
        let draft = blank()?.names(&vec![name; 100]);
        self.show(self.papers.forge(&draft).map(Some)).await
    }

    /// Who signs itself needs a subject: without one there is no issuer.
    pub(super) fn self_signed(&self) -> Result<Option<Shown>, String> {
        let draft = self.papers.draft()?.common_name(text(&self.papers.name).as_bytes());
        shown(&draft.self_signed().map_err(words)?).map(Some)
    }

    pub(super) fn of_another_authority(&self) -> Result<Option<Shown>, String> {
        let other = Authority::ephemeral().map_err(words)?;
        shown(&other.sign(&self.papers.draft()?).map_err(words)?).map(Some)
    }

    /// The honest certificate, with a key that is not its own.
    pub(super) fn stolen(&self) -> Result<Option<Shown>, String> {
        let other = shown(&blank()?.self_signed().map_err(words)?)?;
        Ok(Some(with_chain(&other, self.papers.honest.cert.clone())))
    }
}

/// Bytes in the place of a certificate.
pub(super) fn rubbish(length: usize) -> CertificateDer<'static> {
    CertificateDer::from(vec![0x30; length])
}
