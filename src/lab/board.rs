//! The notice board of exercise 20: what strangers say goes to a file, to a log and to a page, as carefully as its
//! file says.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::seed::hex;

/// The file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Plan {
    listen: SocketAddr,
    names: Names,
    store: Store,
    log: Log,
    page: Page,
}

/// What becomes of a name when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Names {
    AsTheyAre,
    /// Any other is refused.
    LettersOnly,
    WithoutQuotes,
    /// `../` is taken out.
    WithoutDots,
    /// As a page needs it.
    Escaped,
}

/// How a name becomes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Store {
    /// The name is the path.
    ByName,
    /// The file has a name of the board's own.
    ByDigits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Log {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Page {
    Raw,
    Escaped,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    #[serde(rename = "do")]
    what: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    text: String,
}

struct Board {
    plan: Plan,
    /// Everybody who posted, in order.
    names: Mutex<Vec<String>>,
}

/// Serves until the process is ended.
///
/// # Errors
/// In a sentence: what in the file cannot be done.
pub(crate) async fn serve(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let plan: Plan =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    fs::create_dir_all(NOTES).map_err(|error| format!("{NOTES} cannot be made: {error}"))?;
    let listener = TcpListener::bind(plan.listen).await;
    let listener = listener.map_err(|error| format!("{}: {error}", plan.listen))?;
    Arc::new(Board { plan, names: Mutex::default() }).open(listener).await
}

impl Board {
    async fn open(self: Arc<Self>, listener: TcpListener) -> ! {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            };
            let board = Arc::clone(&self);
            tokio::spawn(async move { board.receive(stream).await });
        }
    }

    async fn receive(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            let read = (&mut stream).take(LONGEST).read_until(b'\n', &mut line).await;
            let Ok(1..) = read else { return };
            let answer = serde_json::from_slice(&line).map_or_else(|_| no(), |it| self.answer(it));
            if stream.get_mut().write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: Request) -> Value {
        let Request { what, name, text } = request;
        self.note(&what, &name);
        let name = match self.plan.names {
            Names::LettersOnly if !name.chars().all(|c| c.is_ascii_alphanumeric()) => return no(),
            Names::AsTheyAre | Names::LettersOnly => name,
            Names::WithoutQuotes => name.replace(['\'', '"', '<', '>', '\n', '\u{1b}', '/'], ""),
            Names::WithoutDots => name.replace("../", ""),
            Names::Escaped => escaped(&name),
        };
        match what.as_str() {
            "post" => {
                let Some(path) = self.path(&name) else { return no() };
                if fs::write(path, text).is_err() {
                    return no();
                }
                self.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                json!({"ok": true})
            }
            "read" => {
                let text = self.path(&name).and_then(|path| fs::read_to_string(path).ok());
                text.map_or_else(no, |text| json!({"ok": true, "name": name, "text": text}))
            }
            "page" => json!({"ok": true, "page": self.page()}),
            _ => no(),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let file = match self.plan.store {
            Store::ByName => name.to_owned(),
            Store::ByDigits => {
                hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes()).as_ref())
            }
        };
        (!file.is_empty()).then(|| Path::new(NOTES).join(file))
    }

    fn note(&self, what: &str, name: &str) {
        let line = match self.plan.log {
            Log::Text => format!("{what} by {name}"),
            Log::Json => json!({"do": what, "name": name}).to_string(),
        };
        let log = fs::OpenOptions::new().append(true).create(true).open("board.log");
        // Without a log the board goes on; the check sees that lines are missing.
        drop(log.and_then(|mut log| writeln!(log, "{line}")));
    }

    fn page(&self) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let items = names.iter().map(|name| match self.plan.page {
            Page::Raw => format!("<li>{name}</li>"),
            Page::Escaped => format!("<li>{}</li>", escaped(name)),
        });
        format!("<ul>{}</ul>", items.collect::<Vec<_>>().concat())
    }
}

fn no() -> Value {
    json!({"ok": false})
}

fn escaped(name: &str) -> String {
    [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")]
        .into_iter()
        .fold(name.to_owned(), |text, (letter, word)| text.replace(letter, word))
}

const NOTES: &str = "notes";
const LONGEST: u64 = 16 * 1024;
