//! Opening a socket, and holding it against the policy once more when it is open.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{BindPolicy, Interfaces, holder, inherited};
use crate::problem::{Fault, Problem};

impl BindPolicy {
    /// Opens a listening socket: one family, never shared with another process, not blocking. Where one was handed
    /// over at this address, it is that one.
    ///
    /// # Errors
    /// As [`BindPolicy::judge`], before and after the bind; [`Fault::BindInUse`] with the process that
    /// holds the address where the system tells, [`Fault::BindNoSuchAddress`],
    /// [`Fault::BindNotPermitted`], or [`Fault::BindFailed`] with the system's own words.
    pub fn open(
        &self,
        address: SocketAddr,
        interfaces: &Interfaces,
    ) -> Result<TcpListener, Problem> {
        self.judge(address, interfaces)?;
        let opened = inherited::at(address).unwrap_or_else(|| listen(address));
        let listener = opened.map_err(|error| failed(address, &error, interfaces))?;
        self.inspect(&listener, interfaces)?;
        Ok(listener)
    }

    /// Holds an open socket against the policy: where it really is, and that nobody else can join it.
    ///
    /// It serves for own sockets after the bind, and for those that another process handed over.
    ///
    /// # Errors
    /// [`Fault::BindMoved`] where the socket is open to more than the policy allows, or does not listen.
    pub fn inspect(&self, listener: &TcpListener, interfaces: &Interfaces) -> Result<(), Problem> {
        let moved = |what: String| {
            let remedy = "let the policy and whoever opens the socket agree; it was closed again";
            Problem::error(Fault::BindMoved, what, remedy)
        };
        let unknown =
            |error: io::Error| moved(format!("the socket does not say where it is: {error}"));
        let address = listener.local_addr().map_err(unknown)?;
        self.judge(address, interfaces).map_err(|problem| {
            moved(format!("the socket is at {address}: {}", problem.message()))
        })?;
        let socket = SockRef::from(listener);
        if !is_listening(&socket).map_err(unknown)? {
            // Until it listens, another process of the same user can bind there too, and listen first.
            return Err(moved(format!("the socket at {address} does not listen")));
        }
        if address.is_ipv6() && !socket.only_v6().map_err(unknown)? {
            return Err(moved(format!("the socket at {address} takes IPv4 visitors too")));
        }
        if is_shared(&socket).map_err(unknown)? {
            return Err(moved(format!(
                "the socket at {address} lets other processes share its port"
            )));
        }
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // One socket a family: an IPv4 visitor never arrives disguised as an IPv6 one.
        socket.set_only_v6(true)?;
    }
    // Where connections of an earlier run are still in TIME-WAIT the port can be had again. On
    // Windows the same option would let another process take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn is_shared(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.reuse_port()
}

#[cfg(not(unix))]
fn is_shared(_: &SockRef<'_>) -> io::Result<bool> {
    Ok(false)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn is_listening(socket: &SockRef<'_>) -> io::Result<bool> {
    socket.is_listener()
}

/// Not told on this system, where `accept` will say so.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn is_listening(_: &SockRef<'_>) -> io::Result<bool> {
    Ok(true)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is the system's, and open-ended; what has no words of ours keeps its own"
)]
fn failed(address: SocketAddr, error: &io::Error, interfaces: &Interfaces) -> Problem {
    let (fault, what, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = holder::of(address).map(|holder| format!(" by {holder}")).unwrap_or_default();
            let remedy = "end that process, or listen on another port".to_owned();
            (Fault::BindInUse, format!("{address} is in use{by}"), remedy)
        }
        io::ErrorKind::AddrNotAvailable => {
            let names = interfaces.names();
            let own: Vec<_> = names.iter().flat_map(|name| interfaces.addresses_of(name)).collect();
            let own: Vec<_> = own.iter().map(ToString::to_string).collect();
            let remedy = format!("this host has {}", own.join(", "));
            (
                Fault::BindNoSuchAddress,
                format!("{} is no address of this host", address.ip()),
                remedy,
            )
        }
        io::ErrorKind::PermissionDenied => {
            let what = format!("this user may not open port {}", address.port());
            let remedy = "listen on a port above 1023, or grant CAP_NET_BIND_SERVICE".to_owned();
            (Fault::BindNotPermitted, what, remedy)
        }
        _ => {
            let remedy =
                "see whether the system has that address family and memory for sockets".to_owned();
            (Fault::BindFailed, format!("{address} cannot be opened: {error}"), remedy)
        }
    };
    Problem::error(fault, what, remedy)
}

/// More than a burst of honest clients; the kernel lowers it to its own limit (somaxconn).
const BACKLOG: i32 = 1024;
