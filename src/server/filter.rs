//! The kernel's filter on a listening socket: the service's address list, one step before the gate.
//!
//! The filter sees every packet that comes to the listening socket: the first one of a connection, and the one
//! that completes it, whether the kernel kept a request in between or sent a cookie. What was listed when a
//! connection began and is not when it is completed is dropped then.
//!
//! Connections inherit the filter that was there when they were completed. It passed their address, so it
//! could only cost time, and [`crate::accept::Door`] takes it off. Whoever is still in the queue when the
//! list changes is judged by the gate, as everybody is.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;

use crate::address::Bans;
use crate::address::kernel::{Family, Program, TooLong};
use crate::config::ServiceConfig;
use crate::problem::{Fault, Problem};

/// The filter of one listening socket, as far as it is known here.
#[derive(Debug, Default)]
pub(super) enum Filter {
    /// Another process had the socket too, before us or meanwhile, and may have left its own.
    #[default]
    Unknown,
    /// None.
    Off,
    /// This one.
    On(Program),
}

/// The program that a listener of a service should have; none where none is wanted.
pub(super) fn wanted(
    service: &ServiceConfig,
    bans: &Bans,
    at: SocketAddr,
) -> Result<Option<Program>, TooLong> {
    if !service.kernel.covers(at.ip()) {
        return Ok(None);
    }
    let balancers = service.balancers.networks();
    Program::compile(Family::of(at.ip()), &service.address, bans, balancers).map(Some)
}

impl Filter {
    /// Whether the kernel drops what the gate would refuse.
    pub(super) fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }

    /// Gives the socket the filter that is wanted. Where that cannot be had it has none: a filter of an
    /// earlier list would keep those out who may come in now.
    ///
    /// # Errors
    /// A warning that says why, at the listener.
    pub(super) fn set(
        &mut self,
        socket: &SockRef<'_>,
        at: SocketAddr,
        wanted: Result<Option<Program>, TooLong>,
    ) -> Result<(), Problem> {
        let program = match wanted {
            Ok(Some(program)) => program,
            Ok(None) => return self.remove(socket, at),
            Err(too_long) => {
                self.remove(socket, at)?;
                return Err(not_had(at, &too_long.to_string(), "merge networks of the list"));
            }
        };
        if matches!(self, Self::On(attached) if *attached == program) {
            return Ok(());
        }
        match attach(socket, &program) {
            Ok(()) => {
                *self = Self::On(program);
                Ok(())
            }
            Err(error) => {
                self.remove(socket, at)?;
                let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
                    "restart it with the privilege that this system asks for"
                } else if error.kind() == io::ErrorKind::OutOfMemory {
                    "merge networks of the list, or raise net.core.optmem_max"
                } else {
                    "use a firewall"
                };
                Err(not_had(at, &error.to_string(), remedy))
            }
        }
    }

    fn remove(&mut self, socket: &SockRef<'_>, at: SocketAddr) -> Result<(), Problem> {
        if matches!(self, Self::Off) {
            return Ok(());
        }
        let detached = match detach(socket) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            detached => detached,
        };
        detached.map_err(|error| {
            let what = format!("{at} keeps a filter of an earlier address list: {error}");
            let remedy = "restart the server; until then it may refuse who is listed now";
            Problem::warning(Fault::AddressKernel, what, remedy)
        })?;
        *self = Self::Off;
        Ok(())
    }
}

fn not_had(at: SocketAddr, why: &str, remedy: &str) -> Problem {
    let what = format!("the kernel does not filter visitors of {at}, only the server does: {why}");
    let remedy = format!("{remedy}, or write kernel = \"off\" in [address]");
    Problem::warning(Fault::AddressKernel, what, remedy)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn attach(socket: &SockRef<'_>, program: &Program) -> io::Result<()> {
    let instruction = |one: &crate::address::kernel::Instruction| {
        socket2::SockFilter::new(one.code, one.jt, one.jf, one.k)
    };
    let instructions: Vec<_> = program.instructions().iter().map(instruction).collect();
    socket.attach_filter(&instructions)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn detach(socket: &SockRef<'_>) -> io::Result<()> {
    socket.detach_filter()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn attach(_: &SockRef<'_>, _: &Program) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no filters on sockets"))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn detach(_: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
