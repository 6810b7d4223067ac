//! Trust for single processes: variables that programs read, and the lines a shell sets them with.

use std::path::Path;
use std::str::FromStr;

use crate::peer::PeerText;
use crate::pki::anchor::keystore;
use crate::pki::anchor::mark::Anchor;
use crate::pki::disk::{self, Secrecy};
use crate::pki::keyfile;
use crate::pki::layout::Layout;
use crate::pki::store::{self, Store};
use crate::problem::{Fault, Problem};

/// A variable that makes programs trust the authority of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it does to the authorities that are trusted without it.
    pub effect: Effect,
    /// Which programs read it.
    pub readers: &'static str,
}

/// What a variable does to the authorities that are trusted without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// They are trusted as before.
    Adds,
    /// The authorities of the system count no more, so public servers may be refused.
    Replaces,
}

impl Effect {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adds => "adds",
            Self::Replaces => "replaces",
        }
    }
}

/// A shell, by the language its lines are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shell {
    /// Every descendant of the Bourne shell.
    #[default]
    Sh,
    /// fish.
    Fish,
    /// `PowerShell`, on every system.
    PowerShell,
}

impl FromStr for Shell {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "sh" => Ok(Self::Sh),
            "fish" => Ok(Self::Fish),
            "powershell" => Ok(Self::PowerShell),
            _ => {
                let message = format!("\"{}\" is no shell that is known", PeerText::from(text));
                let remedy = "choose sh, fish or powershell; bash, zsh and dash are sh";
                Err(Problem::error(Fault::CertsBadOption, message, remedy))
            }
        }
    }
}

impl Shell {
    /// The line that sets a variable for the programs started from now on.
    #[must_use]
    pub fn line(self, variable: &Variable) -> String {
        let (name, value) = (variable.name, &variable.value);
        match self {
            Self::Sh => format!("export {name}='{}';", value.replace('\'', r"'\''")),
            Self::Fish => {
                let value = value.replace('\\', r"\\").replace('\'', r"\'");
                format!("set -gx {name} '{value}';")
            }
            Self::PowerShell => format!("$env:{name} = '{}';", value.replace('\'', "''")),
        }
    }

    /// How the lines are taken over.
    #[must_use]
    pub fn usage(self) -> &'static str {
        match self {
            Self::Sh => r#"eval "$(doorward certs trust env)""#,
            Self::Fish => "doorward certs trust env --shell fish | source",
            Self::PowerShell => {
                "doorward certs trust env --shell powershell | Out-String | Invoke-Expression"
            }
        }
    }
}

impl Store {
    /// The variables that make a process trust the authority, and no other process.
    ///
    /// Writes `trust.p12` for Java where it is not there or does not hold what `trust.pem` does.
    ///
    /// # Errors
    /// [`Fault::CertsBadName`] if the path of the store is not text; the faults of reading and writing.
    pub fn variables(&self) -> Result<Vec<Variable>, Problem> {
        self.write_trust_for_java()?;
        let trust = text(&self.layout().trust())?;
        let java = text(&self.layout().trust_for_java())?;
        let of = |name, effect, readers| Variable { name, value: trust.clone(), effect, readers };
        let java = Variable {
            name: "JAVA_TOOL_OPTIONS",
            value: java_options(&java)?,
            effect: Effect::Replaces,
            readers: "every Java",
        };
        Ok(vec![
            of("SSL_CERT_FILE", Effect::Replaces, "OpenSSL, Python's ssl, Ruby, Go, Rust"),
            of("CURL_CA_BUNDLE", Effect::Replaces, "curl, and Python's requests"),
            of("REQUESTS_CA_BUNDLE", Effect::Replaces, "Python's requests"),
            of("GIT_SSL_CAINFO", Effect::Replaces, "git"),
            of("NODE_EXTRA_CA_CERTS", Effect::Adds, "Node"),
            java,
        ])
    }

    fn write_trust_for_java(&self) -> Result<(), Problem> {
        let layout = self.layout();
        let bytes = encoded(layout)?;
        let path = layout.trust_for_java();
        if disk::kind_at(&path)?.is_some()
            && keyfile::read_whole(&path).is_ok_and(|old| *old == bytes)
        {
            return Ok(());
        }
        let _lock = store::lock(layout)?;
        disk::prepare(&path, &bytes, Secrecy::Public)?.take_place()
    }
}

fn encoded(layout: &Layout) -> Result<Vec<u8>, Problem> {
    let authorities = Anchor::all(layout)?.into_iter();
    let named: Vec<_> =
        authorities.map(|anchor| (anchor.mark.label(), anchor.certificate)).collect();
    Ok(keystore::encode(&named))
}

/// The options that a JVM splits at white space, unless it is quoted.
fn java_options(path: &str) -> Result<String, Problem> {
    let property = format!("-Djavax.net.ssl.trustStore={path}");
    let quoted = if !path.contains(char::is_whitespace) && !path.contains(['\'', '"']) {
        property
    } else if !path.contains('"') {
        format!("\"{property}\"")
    } else if !path.contains('\'') {
        format!("'{property}'")
    } else {
        return Err(unspeakable(
            path,
            "holds both kinds of quotation marks, which Java cannot take",
        ));
    };
    Ok(format!("{quoted} -Djavax.net.ssl.trustStoreType=PKCS12"))
}

fn text(path: &Path) -> Result<String, Problem> {
    let shown = path.display().to_string();
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        Some(_) | None => Err(unspeakable(&shown, "holds what no line of a shell should")),
    }
}

fn unspeakable(path: &str, reason: &str) -> Problem {
    let message = format!("the path {} {reason}", PeerText::from(path));
    Problem::error(Fault::CertsBadName, message, "move the store to a path of plain characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_given_what_is_between_its_quotation_marks() {
        let value = r"/home/it's \ $HOME `x`".to_owned();
        let variable =
            Variable { name: "SSL_CERT_FILE", value, effect: Effect::Replaces, readers: "" };
        for (shell, line) in [
            (Shell::Sh, r"export SSL_CERT_FILE='/home/it'\''s \ $HOME `x`';"),
            (Shell::Fish, r"set -gx SSL_CERT_FILE '/home/it\'s \\ $HOME `x`';"),
            (Shell::PowerShell, r"$env:SSL_CERT_FILE = '/home/it''s \ $HOME `x`';"),
        ] {
            assert_eq!(shell.line(&variable), line);
        }
    }

    #[test]
    fn a_path_reaches_java_whole_or_not_at_all() {
        let plain = java_options("/certs/trust.p12").unwrap();
        assert!(plain.starts_with("-Djavax.net.ssl.trustStore=/certs/trust.p12 -D"), "{plain}");
        assert!(java_options("/a b").unwrap().starts_with("\"-Djavax.net.ssl.trustStore=/a b\" "));
        assert!(java_options("/a\"b").unwrap().starts_with("'-Djavax.net.ssl.trustStore=/a\"b' "));
        assert_eq!(java_options("/a'\"b").unwrap_err().fault(), Fault::CertsBadName);
    }

    #[test]
    fn a_path_with_control_characters_is_on_no_line() {
        let problem = text(Path::new("/a\nrm -r b")).unwrap_err();
        assert_eq!(problem.fault(), Fault::CertsBadName);
        assert!(!problem.message().contains('\n'));
    }
}
