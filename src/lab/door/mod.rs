//! The lab's own door: a small server whose file can also express what Doorward itself refuses to.
//!
//! Learners repair it by editing that file; a program of their own may take its place. What a real server
//! of Doorward makes impossible, such as optional client certificates, must be possible here to be attacked.

mod plan;
mod serve;
mod tls;

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use plan::Plan;

/// Serves what the file says until the process is ended.
///
/// # Errors
/// In a sentence for its author: what in the file cannot be done.
pub(crate) async fn open(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let door = Arc::new(serve::Door::new(&plan)?);
    let mut listeners = Vec::new();
    for at in &plan.listen {
        let resolved = tokio::net::lookup_host(at).await;
        let resolved =
            resolved.map_err(|error| format!("{at:?} in listen is no address: {error}"))?;
        for address in resolved {
            let listener = listen(address).map_err(|error| format!("{address}: {error}"))?;
            println_line(&format!("listening at {address}"));
            listeners.push(listener);
        }
    }
    let serving = listeners.into_iter().map(|listener| Arc::clone(&door).receive(listener));
    futures_util::future::join_all(serving).await;
    Ok(())
}

/// An IPv6 wildcard also means IPv4 here, as it does in most languages.
fn listen(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

fn println_line(line: &str) {
    use std::io::Write as _;
    drop(writeln!(io::stdout().lock(), "{line}"));
}
