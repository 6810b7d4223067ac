//! What can be wrong with the certificate of an authority.

use x509_parser::extensions::{GeneralName, NameConstraints};
use x509_parser::prelude::X509Certificate;

use super::{Lint, Sheet};
use crate::pki::reading;

pub(super) fn check(certificate: &X509Certificate<'_>, sheet: &mut Sheet<'_>) {
    let is_root = reading::is_self_issued(certificate);
    let nameless = certificate.subject().iter().next().is_none();
    sheet.when(nameless, Lint::AuthorityNameless);
    if let Ok(Some(basic)) = certificate.basic_constraints() {
        sheet.when(!basic.critical, Lint::AuthorityNotCritical);
        sheet.when(basic.value.path_len_constraint.is_none(), Lint::NoPathLength);
    }
    match reading::key_usage(certificate) {
        None => sheet.when(true, Lint::AuthorityNoKeyUsage),
        Some(usage) => {
            sheet.when(!usage.key_cert_sign(), Lint::AuthorityNoCertSign);
            sheet.when(!usage.crl_sign(), Lint::AuthorityNoCrlSign);
        }
    }
    let has_usage = certificate.extended_key_usage().is_ok_and(|usage| usage.is_some());
    sheet.when(is_root && has_usage, Lint::UsageOnRoot);
    match certificate.name_constraints() {
        Ok(Some(extension)) => {
            sheet.when(!extension.critical, Lint::ConstraintsNotCritical);
            constraints(extension.value, sheet);
        }
        // What is below a root is held to the root's constraints.
        Ok(None) => sheet.when(is_root, Lint::Unconstrained),
        Err(_) => {}
    }
}

fn constraints(constraints: &NameConstraints<'_>, sheet: &mut Sheet<'_>) {
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
    sheet.when(permitted.is_empty() && excluded.is_empty(), Lint::ConstraintsEmpty);
    let dns = permitted.iter().any(|tree| matches!(tree.base, GeneralName::DNSName(_)));
    let address = permitted.iter().any(|tree| matches!(tree.base, GeneralName::IPAddress(_)));
    sheet.when(!permitted.is_empty() && dns != address, Lint::ConstraintsOneKind);
    let dotted = permitted
        .iter()
        .chain(excluded)
        .any(|tree| matches!(&tree.base, GeneralName::DNSName(name) if name.starts_with('.')));
    sheet.when(dotted, Lint::ConstraintsLeadingDot);
}
