//! Questions for a talk of five minutes, from the learner's own files: whoever wrote them can answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::parcel::Parcel;
use crate::lab::catalogue::Exercise;
use crate::lab::check::{Files, variant};
use crate::lab::lan::{HERE, HERE_6};
use crate::lab::seed::{Dice, Seed};

/// A question, and what a good answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) exercise: String,
    pub(crate) ask: String,
    pub(crate) answer: String,
}

/// Three questions, or fewer where little was handed in; each from another exercise where there are enough.
pub(crate) fn questions(parcel: &Parcel, seed: &Seed) -> Vec<Question> {
    let mut dice = seed.dice(&format!("viva {}", parcel.manifest.made));
    let mut by_exercise: Vec<Vec<Question>> = Vec::new();
    for number in &parcel.ticket.claims.exercises {
        let Ok(exercise) = Exercise::find(number) else { continue };
        let Some(files) = parcel.work.get(&exercise.folder) else { continue };
        let mut all = of_files(&exercise, files, seed, &mut dice);
        all.extend(of_journal(&exercise, parcel));
        if !all.is_empty() {
            by_exercise.push(all);
        }
    }
    dice.shuffle(&mut by_exercise);
    let mut chosen = Vec::new();
    // Round by round, so that no exercise is asked about twice before every other was asked about once.
    let longest = by_exercise.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..longest {
        chosen.extend(by_exercise.iter().filter_map(|all| all.get(round)).cloned());
    }
    chosen.truncate(HOW_MANY);
    chosen
}

/// What the answer's own lines give.
fn of_files(exercise: &Exercise, files: &Files, seed: &Seed, dice: &mut Dice) -> Vec<Question> {
    let text =
        |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut all = Vec::new();
    // A file that is as it was at the start is not what the learner answered with.
    let start = variant(exercise, seed).fill_all(&exercise.folder("start"));
    let own = |name: &str| text(name).filter(|_| start.get(name) != files.get(name));
    let made = match exercise.check() {
        "03" => own("door.toml").and_then(|text| reach(&text, dice)),
        "07" => own("doorward.toml").and_then(|text| network(&text, dice)),
        _ => None,
    };
    all.extend(made.map(|(ask, answer)| question(exercise, ask, answer)));
    all.extend(changed(exercise, files, seed, dice));
    all
}

/// Who reaches a service that listens there.
fn reach(text: &str, dice: &mut Dice) -> Option<(String, String)> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let listens: Vec<&str> =
        table.get("listen")?.as_array()?.iter().filter_map(toml::Value::as_str).collect();
    let sockets: Vec<SocketAddr> = listens.iter().filter_map(|it| it.parse().ok()).collect();
    let visitors: [IpAddr; 4] = [
        Ipv4Addr::LOCALHOST.into(),
        HERE.into(),
        HERE_6.into(),
        Ipv4Addr::new(127, 0, 0, 2).into(),
    ];
    let visitor = dice.pick(&visitors)?;
    let takes = |socket: &SocketAddr| match (socket.ip(), visitor) {
        (IpAddr::V4(ip), IpAddr::V4(_)) if ip.is_unspecified() => true,
        (IpAddr::V6(ip), _) if ip.is_unspecified() => true,
        (ip, visitor) => ip == *visitor,
    };
    let answer = if sockets.iter().any(takes) {
        "A connection is made: a socket listens at that address, or at all of them."
    } else {
        "The kernel refuses (a RST comes back): no socket listens at that address."
    };
    let ask = format!(
        "Your service listens at {}. Somebody knocks at the machine's address {visitor}. What happens, and who decides it?",
        listens.join(" and ")
    );
    Some((ask, answer.to_owned()))
}

/// Whether an address belongs to a network.
fn network(text: &str, dice: &mut Dice) -> Option<(String, String)> {
    let table: toml::Table = toml::from_str(text).ok()?;
    let allow = table.get("address")?.get("allow")?.as_array()?;
    let nets: Vec<IpNet> = allow.iter().filter_map(|it| it.as_str()?.parse().ok()).collect();
    let net = dice.pick(&nets)?;
    let (IpAddr::V4(first), IpAddr::V4(last)) = (net.network(), net.broadcast()) else {
        return None;
    };
    let size = last.to_bits().saturating_sub(first.to_bits()).saturating_add(1);
    let within = Ipv4Addr::from_bits(first.to_bits().saturating_add(dice.below(size)));
    let beyond =
        Ipv4Addr::from_bits(last.to_bits().saturating_add(dice.below(size)).saturating_add(1));
    let visitor = if dice.below(2) == 0 { within } else { beyond };
    let length = net.prefix_len();
    let answer = if net.contains(&IpAddr::V4(visitor)) {
        format!(
            "Yes: its first {length} bits are those of {first}. The network goes from {first} to {last}."
        )
    } else {
        format!(
            "No: its first {length} bits are not those of {first}. The network goes from {first} to {last}."
        )
    };
    Some((format!("Your rule is {net}. Does {visitor} get in by it? How do you see it?"), answer))
}

/// A line that is not as it was at the start.
fn changed(exercise: &Exercise, files: &Files, seed: &Seed, dice: &mut Dice) -> Option<Question> {
    let start = variant(exercise, seed).fill_all(&exercise.folder("start"));
    let mut lines = Vec::new();
    for (name, bytes) in files {
        let before =
            start.get(name).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let is_code = |line: &&str| line.trim().len() > 3 && !line.trim().starts_with(['#', '/']);
        let now = String::from_utf8_lossy(bytes);
        let new = now.lines().filter(is_code).filter(|line| before.lines().all(|old| old != *line));
        lines.extend(new.map(|line| (name.clone(), line.trim().to_owned())));
    }
    let (name, line) = dice.pick(&lines)?;
    let line: String = line.chars().take(LONGEST_LINE).collect();
    let ask = format!(
        "In {name} you wrote: {line}\n   What happens to Mallory, and what to the honest client, if this line is taken out?"
    );
    let hint =
        exercise.about.hints.last().map(|hint| variant(exercise, seed).fill(hint.as_bytes()));
    let answer = format!(
        "The attack must be stopped at {}. {}",
        exercise.about.room.word(),
        String::from_utf8_lossy(&hint.unwrap_or_default())
    );
    Some(question(exercise, ask, answer))
}

/// What happened on the way.
fn of_journal(exercise: &Exercise, parcel: &Parcel) -> Vec<Question> {
    let standing = parcel.journal.standing(&exercise.number);
    let mut all = Vec::new();
    let met = standing.misconceptions.keys().find_map(|code| exercise.misconception(code));
    all.extend(met.map(|known| {
        let ask = format!(
            "On the way the lab said {}. What had you done, and what does it mean?",
            known.code
        );
        question(exercise, ask, known.means.clone())
    }));
    let mut wrong = exercise.about.predictions.iter().zip(&standing.answers);
    let wrong = wrong.find(|(prediction, answer)| prediction.truth != **answer);
    all.extend(wrong.map(|(prediction, said)| {
        let known = prediction.choices.iter().find(|choice| *choice == said);
        let said = known.map_or("something else", String::as_str);
        let ask = format!(
            "You were asked: {} You said \"{said}\". What did you measure, and why?",
            prediction.ask
        );
        question(exercise, ask, prediction.truth.clone())
    }));
    all.extend(exercise.about.cards.first().map(|card| {
        let ask = format!("A textbook says: {} What did you measure?", card.says);
        question(exercise, ask, card.measured.clone())
    }));
    all
}

fn question(exercise: &Exercise, ask: String, answer: String) -> Question {
    Question { exercise: exercise.number.clone(), ask, answer }
}

const HOW_MANY: usize = 3;
const LONGEST_LINE: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_a_network_is_right() {
        let text = "[address]\nallow = [\"10.4.64.0/18\"]\n";
        let net: IpNet = "10.4.64.0/18".parse().unwrap();
        for number in 0..50 {
            let (ask, answer) =
                network(text, &mut Seed::named(&number.to_string()).dice("q")).unwrap();
            let visitor: IpAddr =
                ask.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
            assert_eq!(answer.starts_with("Yes"), net.contains(&visitor), "{ask} {answer}");
        }
    }

    #[test]
    fn an_answer_about_reach_is_right() {
        for (listen, ip, open) in [
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.1:80", "10.66.0.1", false),
            ("0.0.0.0:80", "10.66.0.1", true),
            ("0.0.0.0:80", "fd66::1", false),
            ("[::]:80", "fd66::1", true),
        ] {
            let text = format!("listen = [\"{listen}\"]");
            let asked = (0..200)
                .filter_map(|number| reach(&text, &mut Seed::named(&number.to_string()).dice("q")))
                .find(|(ask, _)| ask.contains(&format!("address {ip}.")));
            let (_, answer) = asked.unwrap();
            assert_eq!(answer.starts_with("A connection"), open, "{listen} {ip}: {answer}");
        }
    }
}
