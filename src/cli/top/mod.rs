//! `doorward top`: a running server in a terminal, as it is this second.

mod picture;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use doorward::admin::{Answer, Question, ask};
use doorward::config::Config;
use doorward::server::status::Status;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{ConfigFile, Exit, screen};

/// Show a running server in the terminal, anew each second: rooms, seats, sessions and refusals.
///
/// Keys: r refusals, s sessions, b bans and endings, q end.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin socket, where it is not the one that the configuration names.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Exit {
    if !std::io::stdout().is_terminal() {
        screen::tell("doorward: top needs a terminal; doorward status prints the same once");
        return Exit::Usage;
    }
    let socket = match &args.socket {
        Some(socket) => Ok(socket.clone()),
        None => Config::admin_socket(&args.config.config),
    };
    // Before the screen is cleared: whoever mistyped wants to read why.
    let first = socket.and_then(|socket| ask(&socket, &Question::Status).map(|_| socket));
    let socket = match first {
        Ok(socket) => socket,
        Err(problem) => {
            screen::tell(format_args!("doorward: {problem}"));
            return Exit::Failed;
        }
    };
    let mut terminal = ratatui::init();
    let watched = watch(&mut terminal, &socket);
    ratatui::restore();
    match watched {
        Ok(()) => Exit::Fine,
        Err(error) => {
            screen::tell(format_args!("doorward: the terminal cannot be used: {error}"));
            Exit::Failed
        }
    }
}

/// Which list fills the lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    #[default]
    Refusals,
    Sessions,
    Ends,
}

/// What is shown.
#[derive(Debug, Default)]
struct View {
    page: Page,
    status: Option<Status>,
    /// Why there is nothing newer.
    silent: Option<String>,
    /// Visitors a second, the newest last.
    permitted: Pace,
    refused: Pace,
}

/// How much a counter grew in each of the last seconds.
#[derive(Debug, Default)]
struct Pace {
    last: Option<u64>,
    seconds: VecDeque<u64>,
}

impl Pace {
    fn count(&mut self, now: u64) {
        // A server that was started again counts from nothing.
        let grown = self.last.map_or(0, |before| now.saturating_sub(before));
        self.last = Some(now);
        self.seconds.push_back(grown);
        if self.seconds.len() > SECONDS_SHOWN {
            self.seconds.pop_front();
        }
    }
}

impl View {
    fn take(&mut self, answer: Result<Answer, String>) {
        match answer {
            Ok(Answer::Status(status)) => {
                self.permitted.count(status.permitted);
                self.refused.count(status.refused.values().sum());
                (self.status, self.silent) = (Some(*status), None);
            }
            Ok(Answer::Refused(why)) => self.silent = Some(why.join("; ")),
            Ok(Answer::Done(_) | Answer::Sockets(_)) => {
                self.silent = Some("the server answered something else".to_owned());
            }
            Err(why) => self.silent = Some(why),
        }
    }

    /// Whether to go on.
    fn press(&mut self, key: KeyEvent) -> bool {
        if key.kind != KeyEventKind::Press {
            return true;
        }
        let interrupted =
            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
            return false;
        }
        let pages = [('r', Page::Refusals), ('s', Page::Sessions), ('b', Page::Ends)].into_iter();
        let mut chosen = pages.filter(|(letter, _)| key.code == KeyCode::Char(*letter));
        if key.code == KeyCode::Tab {
            self.page = self.page.next();
        } else if let Some((_, page)) = chosen.next() {
            self.page = page;
        }
        true
    }
}

impl Page {
    fn next(self) -> Self {
        match self {
            Self::Refusals => Self::Sessions,
            Self::Sessions => Self::Ends,
            Self::Ends => Self::Refusals,
        }
    }
}

fn watch(terminal: &mut ratatui::DefaultTerminal, socket: &Path) -> std::io::Result<()> {
    let mut view = View::default();
    loop {
        let asked = Instant::now();
        view.take(ask(socket, &Question::Status).map_err(|problem| problem.message().to_owned()));
        terminal.draw(|frame| picture::draw(frame, &view))?;
        while let Some(left) = BETWEEN_QUESTIONS.checked_sub(asked.elapsed()) {
            if !event::poll(left)? {
                break;
            }
            if let Event::Key(key) = event::read()?
                && !view.press(key)
            {
                return Ok(());
            }
            terminal.draw(|frame| picture::draw(frame, &view))?;
        }
    }
}

const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);
/// As wide as the widest terminal that shows them.
const SECONDS_SHOWN: usize = 200;
