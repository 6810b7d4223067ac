//! The admin socket: how an operator on this machine talks to a running server. It is never on a network.
//!
//! One question a connection: a line of JSON ([`Question`]), answered by a line of JSON ([`Answer`]).
//! Who may ask is decided by the user behind the connection, as the system tells it: the user that
//! the server runs as, root, and those that the configuration names.

#[cfg(unix)]
mod ask;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod succession;

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::server::status::Status;

#[cfg(unix)]
pub use ask::ask;
#[cfg(not(unix))]
pub use elsewhere::{Admin, Predecessor, ask};
#[cfg(unix)]
pub use serve::Admin;
#[cfg(unix)]
pub use succession::Predecessor;

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum Question {
    /// How is it?
    Status,
    /// Read everything anew.
    Reload,
    /// Take nobody new, and end when the sessions have.
    Drain,
    /// Hand the listening sockets to a successor, and take nobody new when it says [`Question::Drain`] on the same
    /// connection. Only the user that the server runs as, and root, may ask for that.
    Succeed,
    /// Keep a network out.
    Ban {
        /// Which.
        network: IpNet,
        /// For how long, in seconds.
        seconds: u64,
        /// Why, for whoever looks later.
        why: String,
    },
    /// End a ban.
    Lift {
        /// Which.
        network: IpNet,
    },
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// How it is.
    Status(Box<Status>),
    /// So many listening sockets, which come with the line.
    Sockets(usize),
    /// It is done; with what is worth knowing, in words.
    Done(Vec<String>),
    /// It is not done: why, in words.
    Refused(Vec<String>),
}

/// A question is short; the reason of a ban is its longest part.
const LONGEST_QUESTION: usize = 4096;
/// A thousand sessions and the last refusals, with room to spare.
const LONGEST_ANSWER: usize = 8 << 20;
/// A question and its answer take milliseconds; a reload of a million networks takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// A ban is for a while; whoever is out for good belongs in deny.
const LONGEST_BAN: Duration = Duration::from_secs(365 * 24 * 3600);
