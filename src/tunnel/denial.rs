//! Every "no" a tunnel says to a caller of its own machine, and every reason it ends a session for.

use std::fmt;

macro_rules! denials {
    ($($variant:ident, $code:literal, $sentence:literal, $remedy:literal;)+) => {
        /// Why a tunnel turned a caller away, or ended its session. The list is closed; each code is a contract.
        ///
        /// It stands beside [`crate::refusal::Refusal`], which is what a server says to strangers: no server
        /// can say these. What the remote side did has the code of a [`crate::client::ClientError`], and
        /// what the address gate says keeps its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Denial {
            $(#[doc = concat!("`", $code, "`: ", $sentence)] $variant,)+
        }

        impl Denial {
            /// Every reason there is, in the order in which a caller can meet them.
            pub const ALL: &'static [Denial] = &[$(Denial::$variant,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Denial::$variant => $code,)+ }
            }

            /// What happened, in one sentence.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Denial::$variant => $sentence,)+ }
            }

            /// What an operator can do about it, in one sentence.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Denial::$variant => $remedy,)+ }
            }
        }
    };
}

denials! {
    UnknownCaller, "tunnel.unknown-caller",
        "It cannot be told which user the caller is.",
        "Most callers like this were gone before they were asked for; otherwise let them use a unix socket.";
    NotPermitted, "tunnel.not-permitted",
        "No rule of the tunnel permits the caller's user or groups.",
        "Add the user to --allow-user or the group to --allow-group if it may use the tunnel's certificate.";
    Full, "tunnel.full",
        "As many callers as the tunnel carries are in it already.",
        "Raise max, or shorten idle so that forgotten sessions end sooner.";
    BackingOff, "tunnel.backing-off",
        "The remote failed a moment ago, and is not dialled again before a short wait is over.",
        "See the refusal before this one for what is wrong with the remote; with --retries callers wait instead.";
    Idle, "tunnel.idle",
        "Neither side said anything for longer than idle.",
        "Raise idle if sessions rest for longer than that, or let the client reconnect.";
    Stalled, "tunnel.stalled",
        "One side did not take what the other sent.",
        "Look at the side that the log names: it must read what it asked for.";
    Broken, "tunnel.broken",
        "The caller broke the connection off without ending it.",
        "Look at the caller's own log.";
    Drained, "tunnel.drained",
        "The tunnel was told to stop, and the session outlived its time to finish.",
        "Connect again when the tunnel is back; raise drain in [server] if sessions need longer.";
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
