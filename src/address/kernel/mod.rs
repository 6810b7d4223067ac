//! The address list as a program for the kernel: what the gate would refuse never becomes a connection.

mod assembly;
#[cfg(test)]
mod interpreter;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

use super::ranges::{self, Deciding, Ranges};
use super::{AddressGate, Bans, Effect};
use assembly::Assembly;

pub use assembly::Instruction;

/// A classic BPF program that lets a packet pass by its source address alone.
///
/// It is for a listening socket of one family. It says what the gate, the bans and the balancers of a
/// service say together: a balancer passes whatever the lists say, because the gate judges the address
/// that it announces, later. Everybody else passes where the gate would let it on and no ban covers it.
/// It never lets pass less than that, but for one case that cannot be on a socket of one family: an
/// IPv4-mapped source in an IPv6 packet is dropped.
///
/// The gate in the process judges every visitor all the same. The program saves it work, no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
}

/// Which listeners of a service have the program.
///
/// What the kernel drops leaves no record and gets no answer. From other hosts that is what the list is
/// for: they learn nothing, and a flood of them costs the process nothing. On this machine a refusal
/// that has a name is worth more, and nobody needs the network to flood the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// None.
    Off,
    /// Those that other hosts can reach.
    #[default]
    Outside,
    /// Those on loopback too.
    All,
}

impl Kernel {
    /// Whether a listener at this address has it.
    #[must_use]
    pub fn covers(self, listener: IpAddr) -> bool {
        match self {
            Self::Off => false,
            Self::Outside => !listener.is_loopback(),
            Self::All => true,
        }
    }
}

/// The address family of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and IPv6 alone.
    V6,
}

/// A list that is cut into more pieces than a program of the kernel may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address list is cut into more pieces than a program of {MOST_INSTRUCTIONS} instructions holds"
)]
pub struct TooLong;

impl Program {
    /// The program for a listening socket of this family.
    ///
    /// # Errors
    /// [`TooLong`] where the lists need more instructions than the kernel takes: from about 2,000 IPv4
    /// or 700 IPv6 networks on that are far apart. Neighbours are merged before they are counted.
    pub fn compile(
        family: Family,
        gate: &AddressGate,
        bans: &Bans,
        balancers: &[IpNet],
    ) -> Result<Self, TooLong> {
        let allowed = gate.steps(family)?;
        let banned = set(family, bans.iter().map(|(network, _)| *network));
        let balancers = set(family, balancers.iter().copied());
        let mut steps = combined(&allowed, &banned, &balancers);
        if family == Family::V6 {
            steps = combined(&steps, &set(family, [MAPPED.into()]), &Ranges::default());
        }
        // The step behind the last address is at none.
        steps.pop_if(|step| step.from > family.last());
        Assembly::of(family, &steps).map(|instructions| Self { instructions })
    }

    /// Its instructions, at most [`MOST_INSTRUCTIONS`].
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn last(self) -> u128 {
        match self {
            Self::V4 => u32::MAX.into(),
            Self::V6 => u128::MAX,
        }
    }

    fn has(self, network: &IpNet) -> bool {
        self == Self::of(network.addr())
    }
}

/// What is said from an address on, up to the next step. The first one is at the first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    from: u128,
    passes: bool,
}

impl AddressGate {
    /// Where the verdict changes along the addresses of a family.
    fn steps(&self, family: Family) -> Result<Vec<Step>, TooLong> {
        let mut steps = vec![Step { from: 0, passes: false }];
        let mut add = |from: u128, rule: Option<Deciding>| {
            step(&mut steps, from, rule.map(Deciding::effect) == Some(Effect::Allow));
            // Each step is an instruction at least, so a longer list need not be walked to its end.
            if steps.len() > MOST_INSTRUCTIONS { Err(TooLong) } else { Ok(()) }
        };
        match family {
            Family::V4 => self.v4.starts().try_for_each(|(from, rule)| add(from.into(), rule)),
            Family::V6 => self.v6.starts().try_for_each(|(from, rule)| add(from, rule)),
        }?;
        Ok(steps)
    }
}

/// The addresses of a family that these networks hold.
fn set(family: Family, networks: impl IntoIterator<Item = IpNet>) -> Ranges<u128> {
    let of_family = networks.into_iter().filter(|network| family.has(network));
    let spans = of_family.map(|network| {
        let (first, last) = match network {
            IpNet::V4(net) => {
                (net.network().to_bits().into(), u128::from(net.broadcast().to_bits()))
            }
            IpNet::V6(net) => (net.network().to_bits(), net.broadcast().to_bits()),
        };
        ranges::span(first, last, Effect::Allow, 1)
    });
    Ranges::flatten(spans.collect())
}

/// What remains of `allowed` without `banned`, and with `balancers` whatever else is said of them.
fn combined(allowed: &[Step], banned: &Ranges<u128>, balancers: &Ranges<u128>) -> Vec<Step> {
    let own = allowed.iter().map(|step| step.from);
    let others = banned.starts().chain(balancers.starts()).map(|(from, _)| from);
    let mut cuts: Vec<u128> = own.chain(others).collect();
    cuts.sort_unstable();
    let mut steps = Vec::new();
    for from in cuts {
        let after = allowed.partition_point(|step| step.from <= from);
        let deciding = after.checked_sub(1).and_then(|last| allowed.get(last));
        let is_allowed = deciding.is_some_and(|step| step.passes) && banned.find(from).is_none();
        step(&mut steps, from, is_allowed || balancers.find(from).is_some());
    }
    steps
}

/// Adds a step where it changes anything. A later step at the same address takes its place.
fn step(steps: &mut Vec<Step>, from: u128, passes: bool) {
    steps.pop_if(|last| last.from == from);
    if steps.last().is_none_or(|last| last.passes != passes) {
        steps.push(Step { from, passes });
    }
}

/// What the kernel takes (`BPF_MAXINSNS` of `linux/bpf_common.h`).
pub const MOST_INSTRUCTIONS: usize = 4096;

/// `::ffff:0:0/96`.
const MAPPED: ipnet::Ipv6Net =
    ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::from_bits(0xFFFF_0000_0000), 96);
