//! What holds: the state of the sandbox as the kernel answered, not as it was asked for.

use serde::Serialize;

/// The effective state. It serialises, for whoever asks a running server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and told as one")]
pub struct Report {
    /// Whether the sandbox was entered at all.
    pub on: bool,
    /// Whether no program that is started can gain privileges.
    pub no_new_privileges: bool,
    /// Whom the process became; none where it stayed who it was.
    pub user: Option<User>,
    /// Whether every capability is gone, for good.
    pub no_capabilities: bool,
    /// Which files and ports are left.
    pub landlock: Landlock,
    /// How many system calls are answered with an error.
    pub denied_system_calls: usize,
    /// Whether programs may be started.
    pub starts_programs: bool,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// A user of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// As the configuration calls it.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group, the only one the process is in.
    pub gid: u32,
}

/// What Landlock leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Landlock {
    /// Whether the kernel holds us to it.
    pub state: Enforced,
    /// The version of its interface that the kernel has; 0 for none.
    pub abi: u32,
    /// What may be read, with everything below.
    pub read: Vec<String>,
    /// What may be written, with everything below.
    pub write: Vec<String>,
    /// What may be executed, with everything below.
    pub execute: Vec<String>,
    /// The TCP ports that may be connected to.
    pub connect: Vec<u16>,
    /// The TCP ports that may be listened on; none where that is not limited.
    pub bind: Option<Vec<u16>>,
}

/// How far the kernel holds us to what was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforced {
    /// In everything.
    Fully,
    /// In what its version knows.
    Partially,
    /// Not at all.
    #[default]
    Not,
}

impl Report {
    /// The start-up lines, the state first, then what is left open, then what is missing.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        if !self.on {
            return vec!["off".to_owned()];
        }
        let mut lines = vec![self.state()];
        lines.extend(self.left_open());
        lines.extend(self.missing.iter().map(|what| format!("missing: {what}")));
        lines
    }

    fn state(&self) -> String {
        let mut parts = Vec::new();
        if self.no_new_privileges {
            parts.push("no-new-privileges".to_owned());
        }
        if let Some(user) = &self.user {
            parts.push(format!("user {} ({})", user.name, user.uid));
        }
        if self.no_capabilities {
            parts.push("no capabilities".to_owned());
        }
        let abi = self.landlock.abi;
        parts.push(match self.landlock.state {
            Enforced::Fully => format!("Landlock ABI {abi} fully enforced"),
            Enforced::Partially => format!("Landlock ABI {abi} partially enforced"),
            Enforced::Not => "Landlock not enforced".to_owned(),
        });
        parts.push(match self.denied_system_calls {
            0 => "no system call denied".to_owned(),
            denied => format!("{denied} system calls denied"),
        });
        parts.join(", ")
    }

    fn left_open(&self) -> Option<String> {
        if self.landlock.state == Enforced::Not {
            return None;
        }
        let named = |ports: &[u16]| match ports {
            [] => "no port".to_owned(),
            some if some.len() > SHOWN => format!("{} ports", some.len()),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let listen = match &self.landlock.bind {
            Some(ports) => named(ports),
            None => "any port, because ports of [bind] is wide".to_owned(),
        };
        let programs = if self.starts_programs { "; starts programs" } else { "" };
        let (reads, writes) = (self.landlock.read.len(), self.landlock.write.len());
        Some(format!(
            "left open: {reads} paths to read, {writes} to write; connects to {}; listens on {listen}{programs}",
            named(&self.landlock.connect)
        ))
    }
}

/// A start-up line names so many ports; the status has them all.
const SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Report {
        Report {
            on: true,
            no_new_privileges: true,
            user: Some(User { name: "doorward".to_owned(), uid: 998, gid: 997 }),
            no_capabilities: true,
            landlock: Landlock {
                state: Enforced::Fully,
                abi: 7,
                connect: vec![6379],
                ..Landlock::default()
            },
            denied_system_calls: 41,
            ..Report::default()
        }
    }

    #[test]
    fn the_lines_say_what_holds_and_what_is_missing() {
        let mut report = whole();
        report.missing.push("a moat".to_owned());
        assert_eq!(
            report.lines(),
            [
                "no-new-privileges, user doorward (998), no capabilities, Landlock ABI 7 fully enforced, \
                 41 system calls denied",
                "left open: 0 paths to read, 0 to write; connects to 6379; listens on any port, because ports \
                 of [bind] is wide",
                "missing: a moat",
            ]
        );
        assert_eq!(Report::default().lines(), ["off"]);
    }

    #[test]
    fn the_state_serialises_for_a_program() {
        let object = serde_json::to_value(whole()).unwrap();
        assert_eq!(object["landlock"]["state"], "fully");
        assert_eq!(object["user"]["uid"], 998);
    }
}
