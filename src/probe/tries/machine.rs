//! Attacks of another process or user of this machine.

use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};

use crate::probe::Probe;
use crate::probe::judge::{Outcome, Tried};

impl Probe {
    /// Tries to bind where the server listens. A socket that can be had is closed at once, and never listens.
    pub(super) fn port_theft(&self) -> Outcome {
        for at in [self.listener, self.target] {
            if shared(at).is_ok() {
                return Outcome::NotHeld(format!("{at} can be bound a second time"));
            }
        }
        Outcome::Held("the port is not shared".to_owned())
    }

    /// Asks the admin socket as a user that nobody named.
    pub(super) async fn admin_by_other(&self) -> Tried {
        let socket = self.admin.as_deref().ok_or("the configuration has no admin socket")?;
        let command =
            self.command.as_deref().ok_or("the command to run as another user is not known")?;
        other_user(command, socket).await
    }
}

#[cfg(unix)]
fn shared(at: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())
}

/// Only the port itself is tried where this system has no such option.
#[cfg(not(unix))]
fn shared(at: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())
}

#[cfg(unix)]
async fn other_user(command: &Path, socket: &Path) -> Tried {
    if !nix::unistd::geteuid().is_root() {
        return Err("acting as another user takes root".to_owned());
    }
    let mut asking = tokio::process::Command::new(command);
    asking.args(["status", "--socket"]).arg(socket).uid(NOBODY).gid(NOBODY).kill_on_drop(true);
    let output = asking
        .output()
        .await
        .map_err(|error| format!("user {NOBODY} cannot run {}: {error}", command.display()))?;
    if output.status.success() {
        return Ok(Outcome::NotHeld(format!("user {NOBODY} was answered")));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("may not") {
        return Ok(Outcome::Held("no answer".to_owned()));
    }
    Err(format!("user {NOBODY} was not refused, but failed: {said}"))
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "the same shape as on systems that have users to act as")]
async fn other_user(_: &Path, _: &Path) -> Tried {
    Err("this system has no admin socket".to_owned())
}

/// A user that owns nothing on any common system (`nobody` of Debian, Fedora and Alpine is 65534), but one:
/// who may be named in `[admin]` as well is not tried.
#[cfg(unix)]
const NOBODY: u32 = 65_533;
