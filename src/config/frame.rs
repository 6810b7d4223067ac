//! `[service.frame]`: what a well-formed message is.

use std::time::Duration;

use super::ServiceKind;
use super::entry::{Bounds, Entry};
use super::section::Section;
use crate::frame::{Answers, ByteOrder, FrameKind, FramePolicy, LengthWidth, Rate, Text};
use crate::problem::Fault;

/// The rules for a service of this kind. A forward passes bytes on as they come, unless the table
/// says how messages are told apart.
///
/// What cannot be read is reported and keeps its default here, so that the rest is read too.
pub(super) fn read(mut section: Section<'_>, service: Option<&ServiceKind>) -> FramePolicy {
    let written = section.entry("kind");
    let width = section.or("width", LengthWidth::Four, width).unwrap_or(LengthWidth::Four);
    let order = section.or("order", ByteOrder::Big, |entry| entry.choice(&ORDERS));
    let prefixed = FrameKind::LengthPrefixed { width, order: order.unwrap_or(ByteOrder::Big) };
    let default = match service {
        Some(ServiceKind::Forward(_)) => FrameKind::Raw,
        Some(ServiceKind::Echo | ServiceKind::Run(_)) | None => prefixed,
    };
    let kinds = [
        ("length-prefixed", prefixed),
        ("lines", FrameKind::Lines),
        ("json-lines", FrameKind::JsonLines),
        ("raw", FrameKind::Raw),
    ];
    let kind = written.map_or(Some(default), |entry| entry.choice(&kinds));
    let mut policy = FramePolicy::new(kind.unwrap_or(default));
    policy = bounds(&mut section, policy);
    policy = characters(&mut section, policy);
    policy = pace(&mut section, policy);
    policy = answers(&mut section, policy, service);
    if let Some(kind) = kind {
        refuse_foreign(&mut section, kind);
    }
    section.finish();
    policy
}

fn width(entry: &Entry<'_>) -> Option<LengthWidth> {
    match entry.number(&WIDTH)? {
        1 => Some(LengthWidth::One),
        2 => Some(LengthWidth::Two),
        4 => Some(LengthWidth::Four),
        other => {
            let message = format!("{entry} is {other}, but {}", WIDTH.why);
            entry.blame(Fault::ConfigBadValue, message, "write 1, 2 or 4");
            None
        }
    }
}

fn bounds(section: &mut Section<'_>, policy: FramePolicy) -> FramePolicy {
    let min = section.entry("min");
    let max = section.entry("max");
    let least = min.as_ref().map_or(Some(policy.min()), |entry| entry.size(&MIN));
    let most = max.as_ref().map_or(Some(policy.max()), |entry| entry.size(&MAX));
    let (Some(least), Some(most), Some(entry)) = (least, most, max.or(min)) else {
        return policy;
    };
    entry.checked(policy.clone().bounds(least, most)).unwrap_or(policy)
}

/// Which characters messages may hold, and how deep JSON may be.
fn characters(section: &mut Section<'_>, mut policy: FramePolicy) -> FramePolicy {
    if let Some(entry) = section.entry("text")
        && let Some(text) = entry.choice(&TEXTS)
    {
        policy = entry.checked(policy.clone().text(text)).unwrap_or(policy);
    }
    if let Some(entry) = section.entry("allow_control")
        && let Some(allowed) = entry.each(character)
    {
        if policy.characters() == Text::Any
            && !allowed.is_empty()
            && policy.kind() != FrameKind::Raw
        {
            let message = format!("{entry} means nothing with text = \"any\"");
            entry.blame(Fault::FrameBounds, message, "remove it, or write text = \"utf-8\"");
        }
        policy = entry.checked(policy.clone().allow_control(allowed)).unwrap_or(policy);
    }
    if let Some(entry) = section.entry("depth")
        && let Some(depth) = entry.number(&DEPTH)
    {
        policy = entry.checked(policy.clone().depth(depth)).unwrap_or(policy);
    }
    policy
}

fn character(entry: &Entry<'_>) -> Option<char> {
    let text = entry.string()?;
    let mut characters = text.value.chars();
    if let (Some(one), None) = (characters.next(), characters.next()) {
        return Some(one);
    }
    entry.refuse(text.value, "which is not one character", "write each on its own: \"\\t\"");
    None
}

/// How fast messages may come, and how long they may keep us waiting.
fn pace(section: &mut Section<'_>, policy: FramePolicy) -> FramePolicy {
    let written = section.entry("rate");
    let rate = match &written {
        Some(entry) => entry.string().and_then(|text| entry.checked(Rate::parse(text.value))),
        None => section.document().keep(Rate::parse(DEFAULT_RATE), section.place()),
    };
    let burst = section.or("burst", None, |entry| entry.number(&BURST).map(Some));
    let rate = match burst.flatten() {
        Some(burst) => rate.map(|rate| rate.with_burst(burst)),
        None => rate,
    };
    let idle = section.or("idle", policy.idle(), |entry| entry.duration(&PATIENCE));
    let first = section.or("first", policy.first(), |entry| entry.duration(&PATIENCE));
    let (default_idle, default_first) = (policy.idle(), policy.first());
    let has_messages = policy.kind() != FrameKind::Raw;
    policy
        .at_rate(rate.filter(|_| has_messages))
        .idle_after(idle.unwrap_or(default_idle))
        .first_within(first.unwrap_or(default_first))
}

/// Whether the answers of what is behind the door are judged too.
fn answers(
    section: &mut Section<'_>,
    policy: FramePolicy,
    service: Option<&ServiceKind>,
) -> FramePolicy {
    let Some(entry) = section.entry("answers") else { return policy };
    let Some(answers) = entry.choice(&ANSWERS) else { return policy };
    if matches!(service, Some(ServiceKind::Echo)) {
        entry.blame(
            Fault::FrameBounds,
            format!("{entry} means nothing to an echo, whose answers are the messages themselves"),
            "remove it",
        );
        return policy;
    }
    entry.checked(policy.clone().judging_answers(answers)).unwrap_or(policy)
}

/// Reports keys that would silently do nothing.
fn refuse_foreign(section: &mut Section<'_>, kind: FrameKind) {
    let (word, foreign): (_, &[&'static str]) = match kind {
        FrameKind::LengthPrefixed { .. } => ("length-prefixed", &["depth"]),
        FrameKind::Lines => ("lines", &["width", "order", "depth"]),
        FrameKind::JsonLines => ("json-lines", &["width", "order"]),
        FrameKind::Raw => {
            ("raw", &["width", "order", "depth", "min", "allow_control", "rate", "burst"])
        }
    };
    for key in foreign {
        if let Some(entry) = section.entry(key) {
            entry.blame(
                Fault::FrameBounds,
                format!("{entry} means nothing to kind = \"{word}\""),
                "remove it, or choose another kind",
            );
        }
    }
}

const ORDERS: [(&str, ByteOrder); 2] = [("big", ByteOrder::Big), ("little", ByteOrder::Little)];

const TEXTS: [(&str, Text); 3] =
    [("utf-8", Text::Utf8), ("ascii", Text::Ascii), ("any", Text::Any)];

const ANSWERS: [(&str, Answers); 2] =
    [("as-they-are", Answers::AsTheyAre), ("checked", Answers::Checked)];

const WIDTH: Bounds<u8> = Bounds { range: 1..=4, why: "a length has 1, 2 or 4 bytes" };

const MIN: Bounds<usize> =
    Bounds { range: 0..=FramePolicy::LARGEST_MAX, why: "no message is shorter or longer" };

const MAX: Bounds<usize> = Bounds {
    range: 1..=FramePolicy::LARGEST_MAX,
    why: "less lets nothing pass, more lets one session hold too much memory",
};

/// `serde_json` stops at 128 by default, and others do at similar depths.
const DEPTH: Bounds<u16> =
    Bounds { range: 1..=127, why: "deeper values make common parsers refuse or fall" };

/// People and small programs stay far below it; a flood does not.
const DEFAULT_RATE: &str = "200/s";

/// As many as the fastest rate lets through in a second.
const BURST: Bounds<u32> =
    Bounds { range: 1..=1_000_000, why: "less lets nothing pass, more lets every flood pass" };

/// Below a second a slow link looks idle; after a day nobody is there any more.
const PATIENCE: Bounds<Duration> = Bounds {
    range: Duration::from_secs(1)..=Duration::from_secs(24 * 3600),
    why: "less cuts slow clients off, more keeps a seat for nobody",
};
