//! `doorward connect`: messages in, replies out.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use doorward::client::{Client, ClientError, Receiver, Sender};
use doorward::frame::{ByteOrder, FrameKind, LengthWidth};
use doorward::peer::PeerText;
use doorward::problem::Problem;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::{Exit, screen};

/// Sends messages to a guarded service and prints its replies, one a line.
///
/// Each MESSAGE is sent and its reply awaited. Without one, every line of standard input is a message
/// (with --frame raw: every byte), and replies are printed as they come.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the service is.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8443")]
    to: String,
    /// The authorities that may vouch for the server.
    #[arg(long, value_name = "FILE", default_value = "certs/trust.pem")]
    trust: PathBuf,
    /// Whose certificate to show: certs/client/NAME/{chain,key}.pem.
    #[arg(long = "as", value_name = "NAME", default_value = "alice")]
    name: String,
    /// The certificate chain to show, in place of --as.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The private key of that certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// The name the server's certificate must hold, where it is not the host's.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// How messages are told apart.
    #[arg(long, value_enum, default_value_t = Frames::LengthPrefixed)]
    frame: Frames,
    /// How many seconds a reply may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How often to try again while nobody can be reached.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    retries: u32,
    /// What to say.
    #[arg(value_name = "MESSAGE")]
    messages: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Frames {
    /// A 4-byte big-endian length before each message.
    LengthPrefixed,
    /// A line feed after each message.
    Lines,
    /// One JSON value a line.
    JsonLines,
    /// No messages: bytes as they come.
    Raw,
}

impl Frames {
    fn kind(self) -> FrameKind {
        match self {
            Frames::LengthPrefixed => {
                FrameKind::LengthPrefixed { width: LengthWidth::Four, order: ByteOrder::Big }
            }
            Frames::Lines => FrameKind::Lines,
            Frames::JsonLines => FrameKind::JsonLines,
            Frames::Raw => FrameKind::Raw,
        }
    }
}

/// What can go wrong, all of it said to the person at the terminal.
enum Failure {
    Problem(Problem),
    Client(ClientError),
    Io(std::io::Error),
}

pub(super) fn run(args: &Args) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let talked = match runtime {
        Ok(runtime) => {
            let talked = runtime.block_on(talk(args));
            // Standard input is read on a thread that only its end would end.
            runtime.shutdown_background();
            talked
        }
        Err(error) => Err(Failure::Io(error)),
    };
    match talked {
        Ok(()) => return Exit::Fine,
        Err(Failure::Problem(problem)) => screen::tell(format_args!("doorward: {problem}")),
        Err(Failure::Client(error)) => screen::tell(format_args!("doorward: {error}")),
        Err(Failure::Io(error)) => screen::tell(format_args!("doorward: {error}")),
    }
    Exit::Failed
}

async fn talk(args: &Args) -> Result<(), Failure> {
    let own = |file: &str| PathBuf::from("certs/client").join(&args.name).join(file);
    let chain = args.certificate.clone().unwrap_or_else(|| own("chain.pem"));
    let key = args.key.clone().unwrap_or_else(|| own("key.pem"));
    let mut client = Client::from_files(&args.trust, &chain, &key, &args.to)?;
    if let Some(name) = &args.server_name {
        client = client.expecting(name)?;
    }
    let connection = client.connect_with_retries(args.retries).await?;
    let (sender, receiver) = connection.framed(args.frame.kind())?;
    let patience = Duration::from_secs(args.timeout);
    if args.messages.is_empty() {
        return stream(args, sender, receiver, patience).await;
    }
    exchange(args, sender, receiver, patience).await
}

/// One reply for each message.
async fn exchange(
    args: &Args,
    mut sender: Sender,
    mut receiver: Receiver,
    patience: Duration,
) -> Result<(), Failure> {
    for message in &args.messages {
        if let Err(error) = sender.send(message.as_bytes()).await {
            // The server's own reason waits to be read, and says more than a broken pipe.
            return Err(Failure::Client(receiver.receive(patience).await.err().unwrap_or(error)));
        }
        match receiver.receive(patience).await? {
            Some(reply) => print(args.frame, &reply)?,
            None => break,
        }
    }
    sender.finish().await;
    Ok(())
}

/// Standard input to the server and replies to standard output, at the same time.
async fn stream(
    args: &Args,
    sender: Sender,
    mut receiver: Receiver,
    patience: Duration,
) -> Result<(), Failure> {
    let mut sending = tokio::spawn(send_input(args.frame, sender));
    let mut sent_all = false;
    loop {
        // While there is input the service may stay silent; after its end, a reply is awaited.
        let within = if sent_all { patience } else { AS_LONG_AS_IT_TAKES };
        tokio::select! {
            sent = &mut sending, if !sent_all => {
                sent_all = true;
                match sent {
                    Ok(Ok(Sent::Nothing)) => return Ok(()),
                    // What the server says of it comes with the next reply.
                    Ok(Ok(Sent::Something) | Err(Failure::Client(_))) | Err(_) => {}
                    Ok(Err(failure)) => return Err(failure),
                }
            }
            reply = receiver.receive(within) => match reply {
                Ok(Some(reply)) => print(args.frame, &reply)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(Failure::Client(error)),
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nothing,
    Something,
}

async fn send_input(frame: Frames, mut sender: Sender) -> Result<Sent, Failure> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut message = Vec::new();
    let mut sent = Sent::Nothing;
    loop {
        message.clear();
        let read = match frame {
            Frames::Raw => input.read_buf(&mut message).await,
            Frames::LengthPrefixed | Frames::Lines | Frames::JsonLines => {
                (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut message).await
            }
        };
        if read.map_err(Failure::Io)? == 0 {
            sender.finish().await;
            return Ok(sent);
        }
        let line = match frame {
            Frames::Raw => message.as_slice(),
            Frames::LengthPrefixed | Frames::Lines | Frames::JsonLines => {
                message.strip_suffix(b"\n").unwrap_or(&message)
            }
        };
        sender.send(line).await?;
        sent = Sent::Something;
    }
}

/// A terminal obeys what it is shown, so a reply is escaped for it; a file or program gets it as it is.
fn print(frame: Frames, reply: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = if out.is_terminal() {
        let shown = PeerText::escaped(reply);
        writeln!(out, "{shown}")
    } else {
        match frame {
            Frames::Raw => out.write_all(reply),
            Frames::LengthPrefixed | Frames::Lines | Frames::JsonLines => {
                out.write_all(reply).and_then(|()| out.write_all(b"\n"))
            }
        }
    };
    written.and_then(|()| out.flush()).map_err(Failure::Io)
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure::Problem(problem)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Failure::Client(error)
    }
}

/// A line that is longer is sent in pieces of this; the frame gate will have its say.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;
/// A session at a terminal may rest over a weekend; the server's idle deadline ends it before.
const AS_LONG_AS_IT_TAKES: Duration = Duration::from_secs(7 * 24 * 3600);
