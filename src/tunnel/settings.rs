//! What a tunnel is to do: where it listens, who may call, where it leads.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::{CallerGate, CallerRule};
use crate::address::AddressGate;
use crate::bind::Listen;
use crate::client::{ClientFiles, Deadlines, Target};
use crate::handshake::Pin;
use crate::identity::PermittedName;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// One tunnel, checked: whoever holds one need not ask again.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its name in the log.
    pub name: Arc<str>,
    /// Where it is written.
    pub place: Place,
    /// Where it listens; at least one.
    pub listen: Vec<Written<Local>>,
    /// The mode of its unix sockets.
    pub mode: u32,
    /// Who may call.
    pub callers: Callers,
    /// Where it leads.
    pub destination: Destination,
    /// How long neither side may say anything.
    pub idle: Duration,
    /// How many callers it carries at once.
    pub max: usize,
}

/// Where a tunnel leads, and how the server there is known.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The server.
    pub to: Target,
    /// What is shown to it, and who may vouch for it.
    pub files: ClientFiles,
    /// The name its certificate must hold, where that is not the host of `to`.
    pub server_name: Option<ServerName<'static>>,
    /// Keys of which it must have one, besides all the rest; none where any key will do.
    pub pins: Vec<Pin>,
    /// How long looking up and connecting may take, and the handshake after that.
    pub deadlines: Deadlines,
    /// How often to try again for one caller where the server cannot be reached.
    pub retries: u32,
}

/// What the numbers of a tunnel may be, and what they are where nothing is written.
#[derive(Clone, Copy, Debug)]
pub struct Limits;

impl Limits {
    /// Two more SYN after the first (RFC 6298), or a server's own deadline for a handshake.
    pub const DEFAULT_CONNECT: Duration = Duration::from_secs(5);
    /// From a link of this machine to one that loses packets.
    pub const CONNECT: RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_secs(60);
    /// Longer than the pauses of a person at a prompt.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);
    /// Up to a day, for sessions that rest over night.
    pub const IDLE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);
    /// More than the connection pool of one program.
    pub const DEFAULT_MAX: usize = 64;
    /// Each holds two descriptors and 32 KiB.
    pub const MAX: RangeInclusive<usize> = 1..=65_536;
    /// As for `doorward connect`.
    pub const RETRIES: RangeInclusive<u32> = 0..=1000;
}

/// Where a tunnel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// TCP.
    Tcp(Listen),
    /// A unix socket.
    Unix(PathBuf),
}

impl Local {
    /// Reads `127.0.0.1:6379`, `[::1]:6379` or `unix:/run/user/1000/redis.sock`.
    ///
    /// # Errors
    /// [`Fault::BindBadListen`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let Some(path) = text.strip_prefix("unix:") else {
            let listen = Listen::parse(text)?;
            if listen.inherited().is_some() {
                let what =
                    format!("{text:?} is a socket that is handed over, which tunnels do not take");
                let remedy = "write an address with a port, or \"unix:\" and a path";
                return Err(Problem::error(Fault::BindBadListen, what, remedy));
            }
            return Ok(Local::Tcp(listen));
        };
        let is_file = path.starts_with('/') && !path.ends_with('/') && !path.contains('\0');
        if !is_file || path.len() > LONGEST_SOCKET_PATH {
            let what =
                format!("{text:?} is no absolute path of at most {LONGEST_SOCKET_PATH} bytes");
            let remedy = "write the path of a socket, such as \"unix:/run/user/1000/redis.sock\"";
            return Err(Problem::error(Fault::BindBadListen, what, remedy));
        }
        Ok(Local::Unix(path.into()))
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Local::Unix(_) => true,
            Local::Tcp(Listen::Address(address)) => address.ip().is_loopback(),
            Local::Tcp(Listen::Zoned(..) | Listen::Interface { .. } | Listen::Inherited(_)) => {
                false
            }
        }
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Local::Tcp(listen) => listen.fmt(f),
            Local::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Who may call.
#[derive(Clone, Debug)]
pub enum Callers {
    /// These users of this machine.
    Users(CallerGate),
    /// Whoever comes from these networks; of other machines nobody can tell the users.
    Networks(Arc<AddressGate>),
}

/// The rules on callers as they are written, before it is known whether they can hold.
#[derive(Debug)]
pub struct CallerRules {
    /// Users and groups.
    pub users: Vec<Written<CallerRule>>,
    /// Every user of this machine, if that is written.
    pub any_user: Option<Place>,
    /// The networks of other machines, if any are written.
    pub from: Option<Arc<AddressGate>>,
}

impl Callers {
    /// The rules, where they can hold on every listener; the warnings tell of what is wide open.
    ///
    /// # Errors
    /// [`Fault::TunnelCallers`] where users are to be told apart on a listener that other machines can
    /// reach, where such a listener has no networks, or where the rules contradict each other.
    pub fn new(
        rules: CallerRules,
        listen: &[Written<Local>],
        mode: u32,
    ) -> Result<(Self, Vec<Problem>), Problem> {
        let CallerRules { mut users, any_user, from } = rules;
        if let (Some(place), Some(first)) = (&any_user, users.first()) {
            let what = format!("every user may call, so {} says nothing", first.value);
            return Err(unfit(what, "write the users that are meant, or allow any user").at(place));
        }
        let reached = listen.iter().find(|listen| !listen.value.is_local());
        if let Some(reached) = reached {
            let placed = |problem: Problem| problem.at(&reached.place);
            let with_users = any_user.is_some() || !users.is_empty();
            return networks(reached, from, with_users)
                .and_then(|gate| {
                    all_reached(listen).map(|()| (Callers::Networks(gate), Vec::new()))
                })
                .map_err(placed);
        }
        if from.is_some() {
            let what = "networks are allowed, but no other machine can reach the listeners";
            let remedy = "leave allow_from out; users are told apart by allow_user and allow_group";
            let place =
                listen.first().map_or_else(|| Place::in_code("listen"), |one| one.place.clone());
            return Err(unfit(what, remedy).at(&place));
        }
        let mut warnings = Vec::new();
        if let Some(place) = any_user {
            warnings.push(any_user_warning().at(&place));
            users.push(Written::new(CallerRule::AnyUser, place));
        }
        let gate = if users.is_empty() { CallerGate::own_user() } else { CallerGate::new(users) };
        warnings.extend(shut_out(&gate, listen, mode));
        Ok((Callers::Users(gate), warnings))
    }
}

/// The networks of a listener that other machines can reach.
fn networks(
    reached: &Written<Local>,
    from: Option<Arc<AddressGate>>,
    with_users: bool,
) -> Result<Arc<AddressGate>, Problem> {
    let at = &reached.value;
    if with_users {
        let what =
            format!("nobody can tell which user calls at {at}, which other machines can reach");
        let remedy =
            "listen on 127.0.0.1, [::1] or a unix socket; other machines are named in allow_from";
        return Err(unfit(what, remedy));
    }
    from.filter(|gate| gate.rules().next().is_some()).ok_or_else(|| {
        let what = format!("other machines can reach {at}, and no network is allowed to");
        let remedy =
            "list in allow_from who may use the tunnel's certificate, or listen on 127.0.0.1";
        unfit(what, remedy)
    })
}

/// Users are judged on this machine and networks on others: one tunnel does one of the two.
fn all_reached(listen: &[Written<Local>]) -> Result<(), Problem> {
    match listen.iter().find(|listen| listen.value.is_local()) {
        None => Ok(()),
        Some(local) => {
            let what = format!("{} is on this machine alone, other listeners are not", local.value);
            Err(unfit(
                what,
                "make two tunnels of it: one has rules on users, the other on networks",
            ))
        }
    }
}

fn any_user_warning() -> Problem {
    let what = "every user of this machine may use the tunnel and the certificate it shows";
    let remedy = "if that is not meant, list the users that are";
    Problem::warning(Fault::TunnelAnyUser, what, remedy)
}

/// Where others may call by the rules and not by the mode.
fn shut_out(gate: &CallerGate, listen: &[Written<Local>], mode: u32) -> Option<Problem> {
    let socket = listen.iter().find(|listen| matches!(listen.value, Local::Unix(_)))?;
    let what = format!(
        "the rules let other users in, but with mode {mode:04o} only the owner can connect to {}",
        socket.value
    );
    let remedy = "write mode 0666 to let the rules decide, or 0660 for the socket's group";
    let shut = gate.permits_others() && mode & 0o022 == 0;
    shut.then(|| Problem::warning(Fault::TunnelSocketMode, what, remedy).at(&socket.place))
}

fn unfit(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem::error(Fault::TunnelCallers, what, remedy)
}

/// A server, written `HOST:PORT`.
///
/// # Errors
/// [`Fault::TunnelBadTarget`] with what is wrong with it.
pub fn parse_target(text: &str) -> Result<Target, Problem> {
    text.parse().map_err(|error| {
        let what = format!("{text:?} leads nowhere: {error}");
        Problem::error(
            Fault::TunnelBadTarget,
            what,
            "write a host and a port, such as \"db.internal:8443\"",
        )
    })
}

/// The name that a server's certificate must hold.
///
/// # Errors
/// [`Fault::TunnelBadTarget`] where no certificate can hold it.
pub fn parse_server_name(text: &str) -> Result<ServerName<'static>, Problem> {
    crate::client::server_name(text).map_err(|_| {
        let what = format!("{text:?} is no name that a server's certificate can hold");
        Problem::error(
            Fault::TunnelBadTarget,
            what,
            "write a host name or an address without a port",
        )
    })
}

/// A pin as the log and `doorward certs inspect` print it: `sha256//` and base64.
///
/// # Errors
/// [`Fault::TunnelBadPin`] for anything else.
pub fn parse_pin(text: &str) -> Result<Pin, Problem> {
    match PermittedName::parse(&format!("pin:{text}")) {
        Ok(PermittedName::Pin(pin)) => Ok(pin),
        Ok(PermittedName::Name(_)) | Err(_) => {
            let what = format!("{text:?} is no pin");
            let remedy = "write sha256//BASE64 with the SHA-256 of the server's public key";
            Err(Problem::error(Fault::TunnelBadPin, what, remedy))
        }
    }
}

/// The mode of a socket's file: three octal digits, or four of which the first is 0.
#[must_use]
pub fn parse_mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
    let octal = digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|_| octal)?;
    // Without its owner's rights nobody but root could use the socket at all.
    (mode & 0o600 == 0o600).then_some(mode)
}

/// Where a listener really is, as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// An address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Tcp(address) => address.fmt(f),
            At::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `sun_path` of Linux holds 108 bytes with its final zero.
const LONGEST_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Effect, NetworkRule};
    use std::net::IpAddr;

    fn listen(texts: &[&str]) -> Vec<Written<Local>> {
        let read = texts.iter().filter_map(|text| Local::parse(text).ok());
        read.map(|local| Written::new(local, Place::in_code("test"))).collect()
    }

    fn user(number: u32) -> Vec<Written<CallerRule>> {
        vec![Written::new(CallerRule::User(number, "".into()), Place::in_code("test"))]
    }

    fn from(network: [u8; 4]) -> Arc<AddressGate> {
        let network = ipnet::IpNet::from(IpAddr::from(network));
        let place = Place::in_code("test");
        let rule = NetworkRule { network, effect: Effect::Allow, place };
        Arc::new(AddressGate::new(vec![rule]))
    }

    fn judged(
        listeners: &[&str],
        users: Vec<Written<CallerRule>>,
        any_user: bool,
        from: Option<Arc<AddressGate>>,
    ) -> Result<Vec<Fault>, Fault> {
        let any_user = any_user.then(|| Place::in_code("test"));
        let judged = Callers::new(CallerRules { users, any_user, from }, &listen(listeners), 0o600);
        let warnings = judged.map_err(|problem| problem.fault())?.1;
        Ok(warnings.iter().map(Problem::fault).collect())
    }

    #[test]
    fn user_rules_hold_on_this_machine_alone() {
        let (here, there) = (&["127.0.0.1:1", "[::1]:1", "unix:/a"][..], &["10.0.0.1:1"][..]);
        assert_eq!(judged(here, vec![], false, None), Ok(vec![]));
        assert_eq!(judged(&["127.0.0.1:1"], user(7), false, None), Ok(vec![]));
        assert_eq!(judged(there, user(7), false, None), Err(Fault::TunnelCallers));
        assert_eq!(
            judged(there, vec![], true, Some(from([10, 0, 0, 1]))),
            Err(Fault::TunnelCallers)
        );
        assert_eq!(judged(&["0.0.0.0:1"], vec![], false, None), Err(Fault::TunnelCallers));
    }

    #[test]
    fn a_listener_for_other_machines_needs_their_networks() {
        assert_eq!(judged(&["10.0.0.1:1"], vec![], false, Some(from([10, 0, 0, 1]))), Ok(vec![]));
        let nobody = Some(Arc::new(AddressGate::default()));
        assert_eq!(judged(&["10.0.0.1:1"], vec![], false, nobody), Err(Fault::TunnelCallers));
        let mixed = ["10.0.0.1:1", "127.0.0.1:1"];
        assert_eq!(
            judged(&mixed, vec![], false, Some(from([10, 0, 0, 1]))),
            Err(Fault::TunnelCallers)
        );
        let here = judged(&["127.0.0.1:1"], vec![], false, Some(from([127, 0, 0, 1])));
        assert_eq!(here, Err(Fault::TunnelCallers));
    }

    #[test]
    fn any_user_is_a_warning_and_contradicts_a_list_of_users() {
        assert_eq!(judged(&["127.0.0.1:1"], vec![], true, None), Ok(vec![Fault::TunnelAnyUser]));
        assert_eq!(judged(&["127.0.0.1:1"], user(7), true, None), Err(Fault::TunnelCallers));
        let socket = judged(&["unix:/a"], user(4_000_000), false, None);
        assert_eq!(socket, Ok(vec![Fault::TunnelSocketMode]));
    }

    #[test]
    fn a_listener_is_an_address_or_an_absolute_path() {
        for text in ["127.0.0.1:6379", "[::1]:6379", "unix:/run/user/1000/redis.sock"] {
            assert_eq!(Local::parse(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for text in ["unix:", "unix:run/a", "unix:/run/", "unix:/", "localhost:1", "6379", &long] {
            assert_eq!(Local::parse(text).unwrap_err().fault(), Fault::BindBadListen, "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_lets_its_owner_in() {
        for (text, mode) in [("0600", 0o600), ("660", 0o660), ("0666", 0o666)] {
            assert_eq!(parse_mode(text), Some(mode), "{text}");
        }
        for text in ["", "0", "600 ", "+60", "0o600", "1777", "0477", "0866", "00600", "0066"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }

    #[test]
    fn a_pin_is_written_as_it_is_printed() {
        let pin = Pin::from_digest([7; 32]);
        assert_eq!(parse_pin(&pin.to_string()).unwrap(), pin);
        for text in ["", "sha256//AAAA", "sha256:00", "dns:a"] {
            assert_eq!(parse_pin(text).unwrap_err().fault(), Fault::TunnelBadPin, "{text}");
        }
    }
}
