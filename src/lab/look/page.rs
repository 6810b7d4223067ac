//! One page, complete in itself: the ways of the visitors through the rooms, to be replayed, and the bytes.

use serde_json::json;

use super::bytes::fields;
use crate::lab::catalogue::Exercise;
use crate::lab::relay::Way;
use crate::lab::verdict::Findings;

/// The page's text. Nothing in it comes from elsewhere, and nothing a visitor said becomes markup.
pub(crate) fn page(exercise: &Exercise, findings: &Findings) -> String {
    let capture = &findings.capture;
    let last = capture.segments.iter().map(|segment| segment.connection).max();
    let connections: Vec<_> = (0..=last.unwrap_or(0))
        .filter(|_| last.is_some())
        .take(MOST_CONNECTIONS)
        .map(|connection| {
            json!({
                "toServer": fields(capture, connection, Way::ToServer),
                "toClient": fields(capture, connection, Way::ToClient),
            })
        })
        .collect();
    let state = json!({
        "title": format!("{} · {}", exercise.number, exercise.about.title),
        "room": exercise.about.room.word(),
        "walks": findings.walks,
        "saw": findings.saw,
        "connections": connections,
    });
    // The one way out of a script's data is a "<".
    let state = state.to_string().replace('<', "\\u003c");
    TEMPLATE
        .replace("/*STYLE*/", include_str!("page.css"))
        .replace("/*SCRIPT*/", include_str!("page.js"))
        .replace("{/*STATE*/}", &state)
}

const TEMPLATE: &str = include_str!("page.html");
/// A page that a browser shows without a pause.
const MOST_CONNECTIONS: usize = 8;
