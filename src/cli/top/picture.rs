//! What `top` draws: the hallway with its noes, the seats, the last seconds, and one list.

use doorward::refusal::{Refusal, Room};
use doorward::server::status::{Seats, Status};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Sparkline};

use super::{Pace, Page, View};

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [title, hallway, seats, paces, heading, list, keys] = rows.areas(frame.area());
    let Some(status) = &view.status else {
        let why = view.silent.as_deref().unwrap_or("asking the server");
        frame.render_widget(Paragraph::new(why), title);
        return;
    };
    frame.render_widget(Paragraph::new(head(status, view.silent.as_deref())), title);
    frame.render_widget(Paragraph::new(rooms(status)), hallway);
    frame.render_widget(Paragraph::new(seated(status)), seats);
    let [let_in, turned_away] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(paces);
    pace(frame, let_in, "let in", &view.permitted);
    pace(frame, turned_away, "turned away", &view.refused);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (name, lines) = listed(status, view.page);
    frame.render_widget(Paragraph::new(name).style(bold), heading);
    frame.render_widget(Paragraph::new(lines), list);
    frame.render_widget(Paragraph::new("r refusals  s sessions  b bans and endings  q end"), keys);
}

fn head(status: &Status, silent: Option<&str>) -> Line<'static> {
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    if let Some(why) = silent {
        return Line::styled(format!("! no answer any more: {why}"), reversed);
    }
    let Status { version, process, seconds, draining, .. } = status;
    let state = if *draining { "DRAINING, nobody new gets in" } else { "serving" };
    let (hours, minutes, rest) =
        (seconds.div_euclid(3600), seconds.div_euclid(60).rem_euclid(60), seconds.rem_euclid(60));
    let text = format!(
        "doorward {version}  {state} for {hours}:{minutes:02}:{rest:02}  process {process}"
    );
    let differ = if status.reloads.stale { "  ! files and state differ" } else { "" };
    Line::from(text + differ)
}

/// The rooms in walking order, with how many each has turned away.
fn rooms(status: &Status) -> Vec<Line<'static>> {
    let turned_away = |room: Room| -> u64 {
        let here = |code: &str| Refusal::from_code(code).is_some_and(|one| one.room() == room);
        status.refused.iter().filter(|(code, _)| here(code)).map(|(_, count)| count).sum()
    };
    let all = [
        (Room::Accept, "accept"),
        (Room::Address, "address"),
        (Room::Handshake, "handshake"),
        (Room::Identity, "identity"),
        (Room::Frame, "frame"),
        (Room::Service, "service"),
    ];
    let names = all.map(|(_, name)| format!("{name:<12}")).concat();
    let arrows = "──┬───────▶ ".repeat(all.len());
    let noes = all.map(|(room, _)| format!("  ✖ {:<8}", turned_away(room))).concat();
    vec![Line::from(names), Line::from(format!("{arrows}✔ {}", status.permitted)), Line::from(noes)]
}

fn seated(status: &Status) -> String {
    let bar = |seats: Seats| {
        let tenths = seats.taken.saturating_mul(10).checked_div(seats.all).unwrap_or(0).min(10);
        let (full, free) = ("█".repeat(tenths), "░".repeat(10_usize.saturating_sub(tenths)));
        format!("{full}{free} {} of {}", seats.taken, seats.all)
    };
    format!("strangers {}   members {}", bar(status.strangers), bar(status.members))
}

fn pace(frame: &mut Frame<'_>, area: Rect, name: &str, pace: &Pace) {
    let [label, line] =
        Layout::horizontal([Constraint::Length(22), Constraint::Min(1)]).areas(area);
    let now = pace.seconds.back().copied().unwrap_or(0);
    frame.render_widget(Paragraph::new(format!("{name:<12}{now:>5}/s")), label);
    let newest: Vec<u64> =
        pace.seconds.iter().rev().take(usize::from(line.width)).copied().collect();
    let shown: Vec<u64> = newest.into_iter().rev().collect();
    frame.render_widget(Sparkline::default().data(&shown), line);
}

fn listed(status: &Status, page: Page) -> (String, Vec<Line<'static>>) {
    match page {
        Page::Refusals => {
            let lines = status.last.iter().map(|one| {
                let time = one.at.get(11..19).unwrap_or(&one.at);
                let names = one.names.join(" ");
                let code = &one.code;
                Line::from(format!("{time} {code:<28} {:<22} {} {names}", one.from, one.service))
            });
            ("last refusals".to_owned(), or_none(lines.collect(), "nobody was refused"))
        }
        Page::Sessions => {
            let lines = status.sessions.iter().map(|one| {
                let bytes = one.bytes_in.saturating_add(one.bytes_out);
                Line::from(format!(
                    "{:<34} {:<22} {:<10} {:>6} s {:>10} bytes",
                    one.name, one.from, one.service, one.seconds, bytes
                ))
            });
            (format!("{} sessions", status.members.taken), or_none(lines.collect(), "nobody is in"))
        }
        Page::Ends => {
            let bans = status.bans.iter().map(|ban| {
                Line::from(format!(
                    "banned {:<20} until {} by {}: {}",
                    ban.network, ban.until, ban.by, ban.why
                ))
            });
            let ends = status.endings.iter().map(|end| {
                let left =
                    end.days_left.map_or_else(|| "ENDED".to_owned(), |days| format!("{days} days"));
                Line::from(format!("{left:>9} left: {} {}", end.what, end.name))
            });
            let bans = or_none(bans.collect(), "nobody is banned");
            ("bans and endings".to_owned(), bans.into_iter().chain(ends).collect())
        }
    }
}

fn or_none(lines: Vec<Line<'static>>, none: &'static str) -> Vec<Line<'static>> {
    if lines.is_empty() { vec![Line::from(none)] } else { lines }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use doorward::admin::Answer;

    fn status() -> Status {
        let text = r#"{"version":"0.1.0","process":7,"config":null,"seconds":3723,"draining":false,
            "listeners":[],"services":[],"names":{},"strangers":{"taken":3,"all":512},
            "members":{"taken":2048,"all":4096},"sandbox":[],"permitted":41,
            "sessions":[{"visit":9,"service":"echo","name":"dns:alice.client.internal","from":"127.0.0.1:4711",
                "seconds":12,"frames":3,"bytes_in":30,"bytes_out":12}],
            "endings":[{"what":"server certificate","name":"localhost","at":"2027-01-01T00:00:00Z","days_left":38},
                {"what":"revocation list","name":"CN=dev","at":"2026-01-01T00:00:00Z","days_left":null}],
            "refused":{"address.not-listed":12,"handshake.revoked":2,"handshake.expired":1},"would_refuse":null,
            "last":[{"visit":8,"at":"2026-11-23T10:20:30Z","service":"echo","to":"127.0.0.1:8443",
                "from":"192.0.2.7:999","code":"handshake.revoked","detail":"","rule":null,
                "names":["dns:mallory.client.internal"]}],
            "reloads":{"done":1,"refused":1,"last":null,"stale":true},
            "bans":[{"network":"192.0.2.0/24","until":"2026-11-23T12:00:00Z","why":"by hand","by":"operator"}]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content().chunks(usize::from(width)).map(|line| {
            let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn view() -> View {
        let mut view = View::default();
        let earlier = Status {
            permitted: 30,
            refused: [("address.not-listed".to_owned(), 5)].into(),
            ..status()
        };
        view.take(Ok(Answer::Status(Box::new(earlier))));
        view.take(Ok(Answer::Status(Box::new(status()))));
        view
    }

    const PICTURE: &str = "\
doorward 0.1.0  serving for 1:02:03  process 7  ! files and state differ
accept      address     handshake   identity    frame       service
──┬───────▶ ──┬───────▶ ──┬───────▶ ──┬───────▶ ──┬───────▶ ──┬───────▶ ✔ 41
  ✖ 0         ✖ 12        ✖ 3         ✖ 0         ✖ 0         ✖ 0
strangers ░░░░░░░░░░ 3 of 512   members █████░░░░░ 2048 of 4096
let in         11/s    █
turned away    10/s    █
last refusals
10:20:30 handshake.revoked            192.0.2.7:999          echo dns:mallory.cl";

    #[test]
    fn eighty_columns_hold_the_whole_picture() {
        let shown = shown(&view(), 80, 24);
        assert!(shown.starts_with(PICTURE), "{shown}");
        let last = shown.lines().last().unwrap();
        assert_eq!(last, "r refusals  s sessions  b bans and endings  q end");
    }

    #[test]
    fn keys_choose_the_list_or_end() {
        let mut view = view();
        let key = |code| KeyEvent::new(code, KeyModifiers::NONE);
        assert!(view.press(key(KeyCode::Char('s'))));
        assert!(
            shown(&view, 100, 24)
                .contains("dns:alice.client.internal          127.0.0.1:4711         echo")
        );
        assert!(view.press(key(KeyCode::Tab)));
        let ends = shown(&view, 80, 24);
        assert!(ends.contains(
            "banned 192.0.2.0/24         until 2026-11-23T12:00:00Z by operator: by hand"
        ));
        assert!(ends.contains("  38 days left: server certificate localhost"), "{ends}");
        assert!(ends.contains("    ENDED left: revocation list CN=dev"));
        assert!(!view.press(key(KeyCode::Char('q'))));
        assert!(!view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }

    #[test]
    fn a_server_that_is_gone_leaves_its_last_picture_and_says_so() {
        let mut view = view();
        view.take(Err("no server answers at doorward.sock".to_owned()));
        let shown = shown(&view, 80, 24);
        assert!(shown.starts_with("! no answer any more: no server answers at doorward.sock"));
        assert!(shown.contains("✖ 12"));
    }

    #[test]
    fn any_size_of_terminal_will_do() {
        for (width, height) in [(1, 1), (10, 3), (40, 10), (300, 100)] {
            shown(&view(), width, height);
            shown(&View::default(), width, height);
        }
    }
}
