//! 07, draw the line: address blocks, written as networks, and held against visitors from both sides of each border.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::lab::papers::Office;
use crate::lab::program::Program;
use crate::lab::seed::{Dice, Seed};
use crate::lab::stage::{Stage, Stop};
use crate::lab::variant::Variant;
use crate::lab::verdict::{Findings, Gate, Part, Walk};

/// The three networks of the learner's own school, by their first three numbers.
pub(super) fn vary(variant: Variant, seed: &Seed) -> Variant {
    let mut dice = seed.dice("networks");
    let campus = dice.below(200).saturating_add(16);
    // Never two of them side by side, and the second begins where a block of four may.
    let third = |block: u32, add: u32| block.saturating_mul(4).saturating_add(add);
    let (a, c, d) = (
        third(dice.below(10), 1),
        third(dice.below(10).saturating_add(20), 0),
        third(dice.below(10).saturating_add(40), 2),
    );
    variant
        .with("net-a", format!("10.{campus}.{a}"))
        .with("net-c", format!("10.{campus}.{c}"))
        .with("net-c-last", format!("10.{campus}.{}", c.saturating_add(3)))
        .with("net-d", format!("10.{campus}.{d}"))
}

pub(super) async fn examine(stage: &Stage) -> Result<Findings, Stop> {
    let school = Office::new()?;
    let server = school.server("printer.school.test")?;
    stage.give("server.pem", server.chain_pem())?;
    stage.give("server-key.pem", server.key_pem())?;
    stage.give("staff-ca.pem", school.trust_pem())?;
    let port = stage.port("port")?;
    let printer = match stage.serve("server", &[HERE], port).await {
        Ok(printer) => printer,
        Err(Stop::Yours(why)) => return Ok(not_started(&why)),
        Err(stop) => return Err(stop),
    };
    let campus = Campus::of(stage)?;
    let mut met = Vec::new();
    for from in campus.visitors(&mut stage.dice("visitors")) {
        met.push(Met { from, lab: campus.lab(from), is_in: visit(stage, port, from).await? });
    }
    let findings = judge(stage, &campus, &met, &printer);
    printer.kill().await;
    findings
}

/// The product itself refuses to start with networks that mean something else than they seem to.
fn not_started(why: &str) -> Findings {
    let mut findings = Findings::not_started(why);
    if why.contains("address.host-bits") {
        findings.looks_like("M07-HOSTBITS");
    } else if why.contains("address.leading-zero") {
        findings.looks_like("M07-ZERO");
    }
    findings
}

/// Where an address belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lab {
    A,
    C,
    D,
    /// Lab B, the guests, or nobody of the school.
    Other,
}

/// What became of a visitor.
struct Met {
    from: Ipv4Addr,
    lab: Lab,
    is_in: bool,
}

/// Who may print, each block by its first and last address.
struct Campus {
    blocks: [(Lab, Ipv4Addr, Ipv4Addr); 3],
}

impl Campus {
    fn of(stage: &Stage) -> Result<Self, Stop> {
        let at = |net: &str, last: u8| -> Result<Ipv4Addr, Stop> {
            format!("{}.{last}", stage.value(net)?).parse().map_err(Stop::machine)
        };
        Ok(Self {
            blocks: [
                (Lab::A, at("net-a", 64)?, at("net-a", 127)?),
                (Lab::C, at("net-c", 0)?, at("net-c-last", 255)?),
                (Lab::D, at("net-d", 96)?, at("net-d", 159)?),
            ],
        })
    }

    fn lab(&self, ip: Ipv4Addr) -> Lab {
        let found = self.blocks.iter().find(|(_, first, last)| (*first..=*last).contains(&ip));
        found.map_or(Lab::Other, |(lab, ..)| *lab)
    }

    /// Both sides of every border, and some from anywhere.
    fn visitors(&self, dice: &mut Dice) -> Vec<Ipv4Addr> {
        let mut all = vec![Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(203, 0, 113, 9)];
        for (_, first, last) in &self.blocks {
            let (first, last) = (first.to_bits(), last.to_bits());
            let size = last.saturating_sub(first).saturating_add(1);
            let borders = [
                first.saturating_sub(1),
                first,
                first.saturating_add(1),
                last.saturating_sub(1),
                last,
                last.saturating_add(1),
            ];
            all.extend(borders.map(Ipv4Addr::from_bits));
            for _ in 0..6 {
                all.push(Ipv4Addr::from_bits(first.saturating_add(dice.below(size))));
                // As far away as the block is large, on either side: where a mask that is one bit too short reaches.
                all.push(Ipv4Addr::from_bits(
                    first.saturating_sub(dice.below(size).saturating_add(1)),
                ));
                all.push(Ipv4Addr::from_bits(
                    last.saturating_add(dice.below(size)).saturating_add(1),
                ));
            }
        }
        let campus = all.last().map_or(0, |ip| ip.to_bits() & 0xFFFF_0000);
        all.extend((0..20).map(|_| Ipv4Addr::from_bits(campus.saturating_add(dice.below(65_536)))));
        all.extend(
            (0..10)
                .map(|_| Ipv4Addr::from_bits(0x0A00_0000_u32.saturating_add(dice.below(1 << 24)))),
        );
        all
    }
}

/// Comes as somebody from that address, announced by the school's balancer, and says whether the printer listens: who may
/// not knock is hung up on without a word, and whoever may is told that this is not TLS.
async fn visit(stage: &Stage, port: u16, from: Ipv4Addr) -> Result<bool, Stop> {
    let limit = stage.patience(ANSWER);
    let target = stage.aim(SocketAddr::new(HERE, port))?;
    let talk = async {
        let mut stream = target.connect(None, limit).await?;
        let header = format!("PROXY TCP4 {from} 127.0.0.1 40000 {port}\r\nprint!\n");
        stream.write_all(header.as_bytes()).await?;
        let mut heard = Vec::new();
        // What came before a reset counts.
        drop(stream.take(64).read_to_end(&mut heard).await);
        std::io::Result::Ok(!heard.is_empty())
    };
    let heard = timeout(limit, talk).await;
    Ok(heard.is_ok_and(|heard| heard.unwrap_or(false)))
}

fn judge(stage: &Stage, campus: &Campus, met: &[Met], printer: &Program) -> Result<Findings, Stop> {
    let mut findings = Findings::new();
    let shut_out = met.iter().find(|one| one.lab != Lab::Other && !one.is_in);
    findings.honest = Part::of(
        shut_out.is_none(),
        "every machine of the labs A, C and D may print",
        shut_out.map_or_else(String::new, |one| {
            format!("{} of lab {:?} may not print", one.from, one.lab)
        }),
    );
    let strangers: Vec<_> = met.iter().filter(|one| one.lab == Lab::Other).collect();
    let inside: Vec<&Met> = strangers.iter().copied().filter(|one| one.is_in).collect();
    findings.attack = Part::of(
        inside.is_empty(),
        format!("none of {} others may", strangers.len()),
        inside.first().map_or_else(String::new, |one| {
            format!(
                "{} of {} others may print, such as {}",
                inside.len(),
                strangers.len(),
                one.from
            )
        }),
    );
    let shown = [met.iter().find(|one| one.lab != Lab::Other), strangers.first().copied()];
    let shown = shown.into_iter().flatten().chain(inside.iter().take(2).copied());
    findings.walks.extend(shown.map(way));
    if let Some(one) = inside.first().copied().or(shut_out) {
        findings.saw(pictured(campus, one.from));
    }
    let Plan { address } = stage.read_toml("doorward.toml")?;
    if findings.attack.is_held() {
        let told = printer.complained().matches("code=address.not-listed").count();
        let few = address.allow.len() <= MOST_RULES;
        findings.gate = Part::of(
            few && told > 0,
            format!("the address gate said so, by {} networks", address.allow.len()),
            if few {
                "nobody was refused at the address gate".to_owned()
            } else {
                format!("{} networks, where {MOST_RULES} do", address.allow.len())
            },
        );
        if !few && shut_out.is_none() {
            findings.looks_like("M07-LIST32");
        }
    }
    if let Some(code) = recognised(campus, &inside) {
        findings.looks_like(code);
    }
    Ok(findings)
}

/// What it looks like, by who came in: the widest first.
fn recognised(campus: &Campus, inside: &[&Met]) -> Option<&'static str> {
    let (_, d, _) = campus.blocks.last()?;
    let same = |ip: Ipv4Addr, bits: u32| ip.to_bits() >> bits == d.to_bits() >> bits;
    if inside.iter().any(|one| one.from.octets().first() != Some(&10)) {
        Some("M07-ALL")
    } else if inside.len() > 20 {
        Some("M07-CLASSFUL")
    } else if !inside.is_empty() && inside.iter().all(|one| same(one.from, 8)) {
        Some("M07-NOTABLOCK")
    } else if inside.is_empty() {
        None
    } else {
        Some("M07-OFFBYONE")
    }
}

/// An address in binary, beside the block it is nearest to.
fn pictured(campus: &Campus, ip: Ipv4Addr) -> String {
    let distance = |(_, first, last): &&(Lab, Ipv4Addr, Ipv4Addr)| {
        first.to_bits().abs_diff(ip.to_bits()).min(last.to_bits().abs_diff(ip.to_bits()))
    };
    let bits = |ip: Ipv4Addr| ip.octets().map(|byte| format!("{byte:08b}")).join(".");
    let near = campus.blocks.iter().min_by_key(distance);
    near.map_or_else(String::new, |(lab, first, last)| {
        format!(
            "In binary {ip} is {}; lab {lab:?} goes from {} to {}.",
            bits(ip),
            bits(*first),
            bits(*last)
        )
    })
}

fn way(one: &Met) -> Walk {
    let who =
        if one.lab == Lab::Other { "a stranger".to_owned() } else { format!("lab {:?}", one.lab) };
    let stopped = (!one.is_in).then_some((Gate::Address, "not listed"));
    let walk = Walk::new(&who, one.from, stopped).through(&ROOMS).ending(if one.is_in {
        "may print"
    } else {
        "may not"
    });
    if one.lab == Lab::Other { walk.hostile() } else { walk }
}

/// The part of the configuration that is counted.
#[derive(Debug, Deserialize)]
struct Plan {
    address: Address,
}

#[derive(Debug, Deserialize)]
struct Address {
    allow: Vec<String>,
}

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOMS: [Gate; 2] = [Gate::Bind, Gate::Address];
/// As many blocks as the task has.
const MOST_RULES: usize = 4;
const ANSWER: Duration = Duration::from_millis(500);
