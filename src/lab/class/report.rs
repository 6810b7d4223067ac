//! The report of a class as one page: who holds what, and what the class misunderstands. It needs no network and
//! runs no script.

use super::grade::{Grade, Grades};
use super::lists::Met;
use super::register::Class;
use crate::lab::catalogue::Exercise;

/// The page.
pub(crate) fn page(class: &Class, exercises: &[Exercise], all: &[Grades], met: &[Met]) -> String {
    let name = escaped(&class.about.name);
    let style = include_str!("report.css");
    let missing: Vec<_> = class
        .learners()
        .into_iter()
        .filter(|id| !all.iter().any(|grades| grades.id == *id))
        .map(|id| escaped(&id))
        .collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{name}: Doorward report</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n"
    );
    let (count, of) = (all.len(), all.len().saturating_add(missing.len()));
    line(&mut page, &format!("<p>{count} of {of} submissions are marked.</p>"));
    if !missing.is_empty() {
        line(&mut page, &format!("<p>Nothing from: {}.</p>", missing.join(", ")));
    }
    line(&mut page, &heat(exercises, all));
    line(&mut page, &misunderstood(all, met));
    for grades in all {
        line(&mut page, &learner(grades));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

/// Learners against exercises; each cell has a sign, the points and a word beside its colour.
fn heat(exercises: &[Exercise], all: &[Grades]) -> String {
    let head = |one: &Exercise| {
        let (number, title) = (escaped(&one.number), escaped(&one.about.title));
        format!("<th scope=\"col\" title=\"{title}\">{number}</th>")
    };
    let row = |own: &Grades| {
        let of = |one: &Exercise| own.exercises.iter().find(|grade| grade.exercise == one.number);
        let cells: Vec<_> = exercises.iter().map(|one| cell(of(one))).collect();
        format!(
            "<tr><th scope=\"row\">{}</th>{}<td class=\"cell\">{} of {}</td></tr>",
            escaped(&own.id),
            cells.concat(),
            own.points(),
            own.most()
        )
    };
    let heads: Vec<_> = exercises.iter().map(head).collect();
    let rows: Vec<_> = all.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table>\n<caption>Who holds what</caption>\n<thead><tr><th scope=\"col\">Learner</th>{}\
         <th scope=\"col\">Points</th></tr></thead>\n<tbody>\n{}\n</tbody>\n</table></div>",
        heads.concat(),
        rows.join("\n")
    )
}

fn cell(grade: Option<&Grade>) -> String {
    let state = grade.map_or("nothing", Grade::state);
    let points = grade.map_or(0, Grade::points);
    let sign = sign(state);
    let copied = grade.and_then(|grade| grade.answer_of.as_deref());
    let copied = copied.map(|of| format!(" <span>= {}</span>", escaped(of))).unwrap_or_default();
    let class = state.replace(' ', "-");
    format!(
        "<td class=\"cell {class}\"><span aria-hidden=\"true\">{sign}</span> {points} <small>{state}</small>{copied}</td>"
    )
}

fn sign(state: &str) -> &'static str {
    match state {
        "held" => "✔",
        "not yet" => "✖",
        "unclear" => "?",
        _ => "–",
    }
}

/// Misconceptions against learners: who handed in an answer with it, and who met it on the way.
fn misunderstood(all: &[Grades], met: &[Met]) -> String {
    if met.is_empty() {
        return "<p>No misconception was recognised.</p>".to_owned();
    }
    let head = |own: &Grades| {
        format!("<th scope=\"col\" class=\"turned\"><span>{}</span></th>", escaped(&own.id))
    };
    let row = |one: &Met| {
        let cell = |own: &Grades| {
            if one.kept.contains(&own.id) {
                "<td class=\"cell not-yet\" title=\"handed in with it\">✖</td>"
            } else if one.passed.contains(&own.id) {
                "<td class=\"cell unclear\" title=\"met on the way\">○</td>"
            } else {
                "<td class=\"cell\"></td>"
            }
        };
        let cells: String = all.iter().map(cell).collect();
        format!(
            "<tr><th scope=\"row\">{}</th>{cells}<td>{} of {}</td><td>{}</td></tr>",
            escaped(&one.code),
            one.learners().len(),
            all.len(),
            escaped(&one.means)
        )
    };
    let heads: Vec<_> = all.iter().map(head).collect();
    let rows: Vec<_> = met.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table>\n<caption>What the class misunderstands: ✖ handed in with it, ○ met on the way</caption>\n\
         <thead><tr><th scope=\"col\">Code</th>{}<th scope=\"col\">Learners</th>\
         <th scope=\"col\">What it means</th></tr></thead>\n<tbody>\n{}\n</tbody>\n</table></div>",
        heads.concat(),
        rows.join("\n")
    )
}

/// One learner: the notes, and what happened in each exercise that is not held.
fn learner(own: &Grades) -> String {
    let mut parts = vec![format!("<section>\n<h2>{}</h2>", escaped(&own.id)), list(&own.notes)];
    for grade in own.exercises.iter().filter(|grade| !grade.is_held()) {
        parts.push(story(grade));
        parts.push(list(&grade.said));
    }
    if !own.place.is_empty() {
        parts.push(format!("<p><small>Judged {}.</small></p>", escaped(&own.place)));
    }
    parts.push("</section>".to_owned());
    parts.join("\n")
}

fn story(grade: &Grade) -> String {
    let code = grade.misconception.as_deref().map(|code| format!(" · {}", escaped(code)));
    let parts: Vec<_> = grade
        .parts()
        .iter()
        .map(|(name, score, worth)| format!("{name} ({worth}): {}", score.word()))
        .collect();
    format!(
        "<h3>{} {}{}</h3>\n<p>{}. By the journal: {} checks, {} hints, {} minutes.</p>",
        escaped(&grade.exercise),
        escaped(&grade.title),
        code.unwrap_or_default(),
        parts.join(", "),
        grade.journal.checks,
        grade.journal.hints,
        grade.journal.minutes
    )
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: Vec<_> = items.iter().map(|item| format!("<li>{}</li>", escaped(item))).collect();
    format!("<ul>{}</ul>", items.concat())
}

/// As text of a page.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
