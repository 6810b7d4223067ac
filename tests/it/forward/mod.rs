//! A forward: its upstreams, dead and alive, over TLS or not, and what it tells them.

mod announce;
mod outage;
mod phases;
mod pressure;
mod session;
mod tls;

use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Set, Visitor};

/// A configuration with a forward called `door` for alice: further keys of the service, and tables.
fn door(set: &Set, to: &str, keys: &str, tables: &str) -> String {
    let service = format!(
        "[[service]]\nname = \"door\"\nlisten = \"127.0.0.1:0\"\nkind = \"forward\"\nto = {to:?}\n{keys}\n\
         [[service.identity]]\npermit = [\"dns:alice.client.internal\"]\n{tables}\n"
    );
    set.tables("") + &service
}

/// The table with a client's certificate of the set, called `door`, and further keys.
fn certificates(set: &Set, more: &str) -> String {
    let (chain, key) = set.write_credential("door", &set.client("door"));
    let (chain, key, trust) = (chain.display(), key.display(), set.path("trust.pem"));
    let trust = trust.display();
    format!(
        "[service.upstream]\ncertificate = \"{chain}\"\nkey = \"{key}\"\ntrust = \"{trust}\"\n{more}"
    )
}

fn alice(set: &Set) -> Visitor {
    Visitor::new(set, Some(&set.client("alice")))
}

/// Hears everything, then answers with it backwards: only a half-close that is kept gets an answer.
async fn answer_at_the_end(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut heard = Vec::new();
    drop(stream.read_to_end(&mut heard).await);
    heard.reverse();
    drop(stream.write_all(&heard).await);
    drop(stream.shutdown().await);
}

/// A port of this host that nobody listens on, and nobody else can take, until `listen` is called.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Opens the port.
fn listen(socket: Socket) -> tokio::net::TcpListener {
    socket.listen(128).unwrap();
    socket.set_nonblocking(true).unwrap();
    tokio::net::TcpListener::from_std(socket.into()).unwrap()
}
