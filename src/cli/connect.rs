//! `doorward connect`: talk to a guarded service, and hear why it does not talk back.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use bytes::BytesMut;
use doorward::client::{
    Client, ClientError, ClientFiles, Connection, Deadlines, MessageWriter, ReplyReader, Target,
    server_name,
};
use doorward::frame::{ByteOrder, Frame, FrameKind, LengthWidth};
use doorward::peer::PeerText;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Stdin};
use tokio::time::timeout;

use super::{Exit, screen};

/// Talk to a guarded service: messages from the arguments or from standard input.
///
/// Each MESSAGE is sent, and one reply to it is awaited. Without messages, each line of standard input
/// is one, and replies are printed as they come; at the end of the input the client ends its side and
/// prints what still comes until the server ends its own.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server to dial; every address of a name is tried.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8443")]
    to: Target,
    /// The authorities that may vouch for the server.
    #[arg(long, value_name = "FILE", default_value = "certs/trust.pem")]
    trust: PathBuf,
    /// Whose certificate to show: that of certs/client/NAME.
    #[arg(long = "as", value_name = "NAME", default_value = "alice")]
    who: String,
    /// The certificate to show, in place of --as.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "who")]
    certificate: Option<PathBuf>,
    /// The private key of --certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The name the server's certificate must hold, where it is not the host of --to.
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
    /// How messages are told apart; the service's frame table says which kind it speaks.
    #[arg(long, value_enum, default_value_t = Kind::LengthPrefixed)]
    frame: Kind,
    /// How long a message or a reply may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How often to try again where the server cannot be reached.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    retries: u32,
    /// What to say; one reply to each is awaited. Without any, each line of standard input is one.
    #[arg(value_name = "MESSAGE")]
    messages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// A length of four bytes, most significant first, before each message.
    LengthPrefixed,
    /// A line each.
    Lines,
    /// A line of JSON each.
    JsonLines,
    /// Bytes as they come.
    Raw,
}

pub(super) fn run(args: Args) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            screen::tell(format_args!("doorward: the runtime cannot start: {error}"));
            return Exit::Failed;
        }
    };
    let talked = runtime.block_on(talk(args));
    // A read of standard input cannot be called off; nobody waits for it.
    runtime.shutdown_background();
    match talked {
        Ok(()) => Exit::Fine,
        Err(failure) => {
            screen::tell(format_args!("doorward: {failure}"));
            Exit::Failed
        }
    }
}

async fn talk(args: Args) -> Result<(), Failure> {
    let files = args.files();
    let deadlines = Deadlines { reply: Duration::from_secs(args.timeout), ..Deadlines::default() };
    let mut client = Client::new(args.to, &files)?.speaking(args.frame.kind())?.within(deadlines);
    if let Some(name) = args.server_name {
        client = client.expecting(name);
    }
    let connection = client.connect_with_retries(args.retries).await?;
    let printer = Printer::new(args.frame);
    if args.messages.is_empty() {
        return converse(connection, args.frame, &printer).await;
    }
    ask_each(connection, &args.messages, &printer).await
}

/// One reply to each message.
async fn ask_each(
    mut connection: Connection,
    messages: &[String],
    printer: &Printer,
) -> Result<(), Failure> {
    for message in messages {
        printer.print(&connection.ask(message.as_bytes()).await?)?;
    }
    // Every reply is here; what else the server has to say is welcome, but not waited for.
    let farewell = timeout(LONGEST_FAREWELL, async {
        connection.finish().await?;
        while let Some(reply) = connection.reply().await? {
            printer.print(&reply)?;
        }
        Ok(())
    });
    match farewell.await {
        Ok(Err(failure @ Failure::Screen(_))) => Err(failure),
        Ok(Ok(()) | Err(Failure::Client(_) | Failure::Input(_))) | Err(_) => Ok(()),
    }
}

/// Standard input goes out while replies come in.
async fn converse(connection: Connection, kind: Kind, printer: &Printer) -> Result<(), Failure> {
    let (writer, mut replies) = connection.split();
    let mut saying = pin!(say_input(writer, kind));
    let said = loop {
        tokio::select! {
            biased;
            reply = replies.wait() => match reply? {
                Some(reply) => printer.print(&reply)?,
                None => return ended_early(&replies),
            },
            said = &mut saying => break said,
        }
    };
    let broken = match said {
        Ok(Said::Nothing) => return ended(&mut replies, printer).await,
        Ok(Said::Something) => None,
        // The server's reason is among the replies, and says more than a write that failed.
        Err(Failure::Client(error @ ClientError::Reset { .. })) => Some(error),
        Err(failure) => return Err(failure),
    };
    ended(&mut replies, printer).await?;
    match broken {
        Some(error) => Err(error.into()),
        None if replies.has_heard() => Ok(()),
        None => Err(replies.turned_away().into()),
    }
}

/// Prints what still comes until the server ends its side.
async fn ended(replies: &mut ReplyReader, printer: &Printer) -> Result<(), Failure> {
    while let Some(reply) = replies.reply().await? {
        printer.print(&reply)?;
    }
    Ok(())
}

/// The server ended the session while there was still input. A person at a terminal sees that; a
/// program has to be told that not all of its input was taken.
fn ended_early(replies: &ReplyReader) -> Result<(), Failure> {
    if replies.has_heard() && io::stdin().is_terminal() {
        return Ok(());
    }
    Err(replies.turned_away().into())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Something,
}

/// Sends standard input, then ends the client's side.
async fn say_input(mut writer: MessageWriter, kind: Kind) -> Result<Said, Failure> {
    let mut input = Input { stdin: BufReader::new(tokio::io::stdin()), kind };
    let mut said = Said::Nothing;
    while let Some(message) = input.next().await.map_err(Failure::Input)? {
        writer.send(&message).await?;
        said = Said::Something;
    }
    writer.finish().await?;
    Ok(said)
}

/// Standard input as messages.
struct Input {
    stdin: BufReader<Stdin>,
    kind: Kind,
}

impl Input {
    async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        match self.kind {
            Kind::Raw => self.bytes().await,
            Kind::LengthPrefixed | Kind::Lines | Kind::JsonLines => self.line().await,
        }
    }

    async fn bytes(&mut self) -> io::Result<Option<BytesMut>> {
        let mut bytes = BytesMut::with_capacity(READ_AT_ONCE);
        let read = self.stdin.read_buf(&mut bytes).await?;
        Ok((read > 0).then_some(bytes))
    }

    /// A line without its ending; the last one may have none.
    async fn line(&mut self) -> io::Result<Option<BytesMut>> {
        let mut line = Vec::new();
        let read = (&mut self.stdin).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        let whole = line.strip_suffix(b"\n");
        if whole.is_none() && u64::try_from(read).is_ok_and(|read| read >= LONGEST_LINE) {
            return Err(io::Error::other("a line is longer than 16 MiB, the longest message"));
        }
        let text = whole.map_or(line.as_slice(), |line| line.strip_suffix(b"\r").unwrap_or(line));
        Ok((read > 0).then(|| BytesMut::from(text)))
    }
}

/// Replies on standard output. A terminal obeys what it is shown, so what goes there is escaped.
struct Printer {
    kind: Kind,
    onto: Onto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onto {
    Terminal,
    Program,
}

impl Printer {
    fn new(kind: Kind) -> Self {
        let onto = if io::stdout().is_terminal() { Onto::Terminal } else { Onto::Program };
        Self { kind, onto }
    }

    fn print(&self, reply: &Frame) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match self.write(reply.payload(), &mut out).and_then(|()| out.flush()) {
            // A reader that went away has heard enough; the messages still count.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::Screen),
        }
    }

    fn write(&self, payload: &[u8], out: &mut impl Write) -> io::Result<()> {
        match (self.onto, self.kind) {
            (Onto::Program, Kind::Raw) => out.write_all(payload),
            (Onto::Program, Kind::LengthPrefixed | Kind::Lines | Kind::JsonLines) => {
                out.write_all(payload)?;
                out.write_all(b"\n")
            }
            // Raw bytes have no end to put a line feed after: the service's own are kept.
            (Onto::Terminal, Kind::Raw) => escape_lines(payload, out),
            (Onto::Terminal, Kind::LengthPrefixed | Kind::Lines | Kind::JsonLines) => {
                writeln!(out, "{}", PeerText::escaped(payload))
            }
        }
    }
}

fn escape_lines(payload: &[u8], out: &mut impl Write) -> io::Result<()> {
    for line in payload.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                writeln!(out, "{}", PeerText::escaped(text))?;
            }
            None => write!(out, "{}", PeerText::escaped(line))?,
        }
    }
    Ok(())
}

impl Args {
    fn files(&self) -> ClientFiles {
        let own = |file: &str| Path::new(CLIENTS).join(&self.who).join(file);
        ClientFiles {
            trust: self.trust.clone(),
            certificate: self.certificate.clone().unwrap_or_else(|| own("chain.pem")),
            key: self.key.clone().unwrap_or_else(|| own("key.pem")),
        }
    }
}

impl Kind {
    pub(super) fn kind(self) -> FrameKind {
        match self {
            Kind::LengthPrefixed => {
                FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big }
            }
            Kind::Lines => FrameKind::Lines,
            Kind::JsonLines => FrameKind::JsonLines,
            Kind::Raw => FrameKind::Raw,
        }
    }
}

/// Why it failed: the connection, or one of the two ends of the pipe.
#[derive(Debug)]
enum Failure {
    Client(ClientError),
    Input(io::Error),
    Screen(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Client(error) => error.fmt(f),
            Failure::Input(error) => write!(f, "standard input cannot be read: {error}"),
            Failure::Screen(error) => write!(f, "standard output cannot be written: {error}"),
        }
    }
}

/// Where the development authority keeps its clients.
const CLIENTS: &str = "certs/client";
/// One TLS record (RFC 8446 section 5.1).
const READ_AT_ONCE: usize = 16 * 1024;
/// The largest message there is, and a line ending.
const LONGEST_LINE: u64 = 16 * 1024 * 1024 + 2;
/// Two round trips of a slow link.
const LONGEST_FAREWELL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, onto: Onto, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Printer { kind, onto }.write(payload, &mut out).unwrap();
        out
    }

    #[test]
    fn a_program_gets_the_bytes_as_they_are() {
        let payload = b"\x1b[31m\xff";
        assert_eq!(shown(Kind::Raw, Onto::Program, payload), payload);
        assert_eq!(shown(Kind::LengthPrefixed, Onto::Program, payload), b"\x1b[31m\xff\n");
    }

    #[test]
    fn a_terminal_gets_nothing_that_it_would_obey() {
        let payload = b"\x1b[31m\xff\r\nnext";
        assert_eq!(
            shown(Kind::LengthPrefixed, Onto::Terminal, payload),
            b"\\u{1b}[31m\\xff\\u{d}\\u{a}next\n"
        );
        assert_eq!(shown(Kind::Raw, Onto::Terminal, payload), b"\\u{1b}[31m\\xff\nnext");
    }

    #[test]
    fn a_long_reply_is_shown_whole() {
        let payload = vec![b'a'; 10_000];
        assert_eq!(shown(Kind::Lines, Onto::Terminal, &payload).len(), payload.len() + 1);
    }
}
