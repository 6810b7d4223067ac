//! `doorward certs lint`: what is wrong with a file, who refuses it, and what would fix it.

use std::path::PathBuf;

use doorward::pki::Document;
use doorward::pki::lint::{self, Finding, Verifier};
use doorward::problem::Severity;
use serde_json::json;
use time::OffsetDateTime;

use super::{Done, Exit, screen};

/// Judges certificates, requests and revocation lists.
///
/// Exit code 0 where there is no error, 1 where there is one; with --strict a warning counts as one.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A file in PEM or DER.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Treat warnings as errors, for continuous integration.
    #[arg(long)]
    strict: bool,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Done {
    let document = Document::read(&args.file)?;
    let findings = lint::lint(&document, OffsetDateTime::now_utc());
    let errors = findings.iter().filter(|finding| is_error(finding)).count();
    let warnings = findings.len().saturating_sub(errors);
    let bad = errors > 0 || (args.strict && warnings > 0);
    if args.json {
        screen::say(json!({
            "file": args.file.display().to_string(),
            "refused": bad,
            "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
        }));
    } else {
        for finding in &findings {
            screen::say(finding);
        }
        let items = document.items().len();
        screen::say(format_args!(
            "{}: {items} looked at, errors: {errors}, warnings: {warnings}",
            args.file.display()
        ));
    }
    Ok(if bad { Exit::Failed } else { Exit::Fine })
}

fn is_error(finding: &Finding) -> bool {
    finding.lint().severity() == Severity::Error
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    let lint = finding.lint();
    let refused: Vec<_> =
        lint.refused_by().iter().map(|verifier| Verifier::word(*verifier)).collect();
    json!({
        "item": finding.item(),
        "severity": if is_error(finding) { "error" } else { "warning" },
        "code": lint.code(),
        "message": lint.sentence(),
        "remedy": lint.remedy(),
        "refused_by": refused,
    })
}
