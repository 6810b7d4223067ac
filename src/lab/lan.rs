//! The pocket LAN: a network of its own, with addresses beside the loopback's, that leads nowhere.
//!
//! Where the system lets an unprivileged user have one, a check runs inside it: a service that listens on
//! everything is then open to nobody but the check, and no program in it can reach another machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a check is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lan {
    /// In a network of its own.
    Pocket,
    /// On the loopback that all programs of this machine share, and why.
    Shared(String),
}

impl Lan {
    /// Moves this process into a network of its own, if it may. It must have one thread only, which it has
    /// before a runtime begins.
    pub(crate) fn enter() -> Self {
        match pocket::enter() {
            Ok(()) => Self::Pocket,
            Err(why) => Self::Shared(why),
        }
    }

    /// Does this on a thread in a pocket LAN like this one, at the same time as what goes on here.
    ///
    /// # Errors
    /// In words, why there is no other one: this is none, or the system gives no second.
    pub(crate) async fn beside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if let Self::Shared(why) = self {
            return Err(why.clone());
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        // A thread of its own, since it never comes back from there.
        let thread = std::thread::Builder::new().name("twin".to_owned());
        let work = move || drop(tell.send(pocket::another().map(|()| job())));
        thread.spawn(work).map_err(|error| error.to_string())?;
        told.await.unwrap_or_else(|_| Err("the thread beside ended early".to_owned()))
    }

    pub(crate) fn is_pocket(&self) -> bool {
        *self == Self::Pocket
    }

    /// The addresses that this machine has here.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let others = match self {
            Self::Pocket => vec![SECOND, HERE.into(), HERE_6.into()],
            Self::Shared(_) => vec![SECOND],
        };
        loopback.into_iter().chain(others).collect()
    }

    /// Whether an attack may go there at all.
    pub(crate) fn holds(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            ip if ip.is_loopback() => true,
            IpAddr::V4(ip) => self.is_pocket() && ip.octets().starts_with(&[10, 66]),
            IpAddr::V6(ip) => self.is_pocket() && ip.segments().starts_with(&[0xfd66]),
        }
    }

    /// For the report.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Pocket => "in a pocket LAN (a network of its own)".to_owned(),
            Self::Shared(why) => format!("on this machine's own loopback, since {why}"),
        }
    }
}

/// The address of this machine in the LAN.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
/// The same in the other family.
pub(crate) const HERE_6: Ipv6Addr = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 1);
/// Another machine of the LAN, as far as anybody can tell.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 9);
/// An address that the LAN has no way to.
pub(crate) const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 66, 200, 1);
/// An address of the loopback that nothing is usually bound to; Linux and Windows have it, macOS has not.
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[cfg(target_os = "linux")]
mod pocket {
    use std::fs;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::{getgid, getuid};

    use super::{HERE, HERE_6, NOWHERE, STRANGER};

    /// # Errors
    /// In words, why this system has none.
    pub(super) fn enter() -> Result<(), String> {
        // Looked for first: a network that cannot be furnished is no place to be, and there is no way back.
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| folder.join("ip").is_file()) {
            return Err("ip (iproute2) is not installed".to_owned());
        }
        let (user, group) = (getuid(), getgid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("the system gives no network of its own ({error})"))?;
        let write = |file: &str, text: String| {
            fs::write(file, text).map_err(|error| format!("{file} cannot be written ({error})"))
        };
        write("/proc/self/setgroups", "deny".to_owned())?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))?;
        furnish()
    }

    /// Moves this thread alone into one more network, and whatever it starts from then on.
    ///
    /// # Errors
    /// In words, why this system has no second one.
    pub(super) fn another() -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("the system gives no second network ({error})"))?;
        furnish()
    }

    fn furnish() -> Result<(), String> {
        give_addresses()
            .map_err(|error| format!("the network could not be furnished by ip ({error})"))
    }

    /// Gives the empty network its addresses, in one call of `ip`.
    fn give_addresses() -> Result<(), String> {
        let orders = format!(
            "link set lo up\naddr add {HERE}/32 dev lo\naddr add {STRANGER}/32 dev lo\n\
             addr add {HERE_6}/128 dev lo nodad\nroute add unreachable {NOWHERE}/32\n"
        );
        let mut ip = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(mut stdin) = ip.stdin.take() {
            stdin.write_all(orders.as_bytes()).map_err(|error| error.to_string())?;
        }
        let done = ip.wait_with_output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
    }
}

#[cfg(not(target_os = "linux"))]
mod pocket {
    pub(super) fn enter() -> Result<(), String> {
        Err(WHY.to_owned())
    }

    pub(super) fn another() -> Result<(), String> {
        Err(WHY.to_owned())
    }

    const WHY: &str = "only Linux has networks for one program";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_stays_in_the_house() {
        let shared = Lan::Shared("a test".to_owned());
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(shared.holds(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.66.0.1", "192.168.1.1", "8.8.8.8", "fd66::1", "fe80::1", "::ffff:8.8.8.8"] {
            assert!(!shared.holds(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.66.0.1", "fd66::1", "127.0.0.1", "::ffff:10.66.0.9"] {
            assert!(Lan::Pocket.holds(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.67.0.1", "8.8.8.8", "fd67::1", "2001:db8::1"] {
            assert!(!Lan::Pocket.holds(ip.parse().unwrap()), "{ip}");
        }
    }
}
