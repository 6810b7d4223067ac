//! List files: one network a line, `#` begins a comment.

use std::sync::Arc;

use ipnet::IpNet;

use crate::network::parse_network;
use crate::place::{Place, Written};
use crate::problem::{Fault, Problem};

/// Reads a list of networks, and reports every line that is none, with its line and column.
///
/// Each line is held to the rules of [`parse_network`], and a network that stands twice is a problem
/// of the second line. Blank lines and whatever follows a `#` are passed over. Where there are problems, what is
/// read besides is no list.
#[must_use]
pub fn parse_list(text: &str, file: &Arc<str>) -> (Vec<Written<IpNet>>, Vec<Problem>) {
    let mut networks: Vec<Written<IpNet>> = Vec::new();
    let mut problems = Vec::new();
    for (number, line) in (1_u32..).zip(text.lines()) {
        let written = line.split('#').next().unwrap_or_default();
        let entry = written.trim();
        if entry.is_empty() {
            continue;
        }
        let indent = written.chars().take_while(|c| c.is_whitespace()).count();
        let column = u32::try_from(indent).unwrap_or(u32::MAX).saturating_add(1);
        let place = Place::new(Arc::clone(file), number, column);
        match parse_network(entry) {
            Err(problem) => problems.push(problem.at(&place)),
            Ok(network) => networks.push(Written::new(network, place)),
        }
    }
    let found = twins(&networks);
    if !found.is_empty() {
        problems.extend(
            found
                .iter()
                .map(|(first, again)| twice(again.value, first.place.line()).at(&again.place)),
        );
        problems.sort_by_key(|problem| problem.place().map(Place::line));
    }
    (networks, problems)
}

/// Every network that stands in a list before, with where it stood first; in the order of the list.
#[must_use]
pub fn twins(list: &[Written<IpNet>]) -> Vec<(&Written<IpNet>, &Written<IpNet>)> {
    // Sorted, not looked up: a map of a million networks is ten times as much memory, in pieces.
    let mut sorted: Vec<_> = list.iter().enumerate().collect();
    sorted.sort_unstable_by_key(|(index, one)| (one.value, *index));
    let mut found = Vec::new();
    for group in sorted.chunk_by(|(_, one), (_, other)| one.value == other.value) {
        if let [(_, first), again @ ..] = group {
            found.extend(again.iter().map(|(index, again)| (*index, *first, *again)));
        }
    }
    found.sort_unstable_by_key(|(index, ..)| *index);
    found.into_iter().map(|(_, first, again)| (first, again)).collect()
}

fn twice(network: IpNet, first: u32) -> Problem {
    Problem::error(
        Fault::AddressDuplicate,
        format!("{network} is listed on line {first} already"),
        "remove one of the two lines",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_line_and_column_of_every_bad_entry() {
        let text = "# staff\n10.0.0.0/8\n\n  10.1.2.3/8 # typo\n::1\n10.0.0.0/8\n";
        let (networks, problems) = parse_list(text, &Arc::from("staff.list"));
        let networks: Vec<_> = networks.iter().map(|net| net.value.to_string()).collect();
        assert_eq!(networks, ["10.0.0.0/8", "::1/128", "10.0.0.0/8"]);
        let problems: Vec<_> =
            problems.iter().map(|p| format!("{} {}", p.place().unwrap(), p.fault())).collect();
        assert_eq!(
            problems,
            ["staff.list:4:3 address.host-bits", "staff.list:6:1 address.duplicate"]
        );
    }
}
