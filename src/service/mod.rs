//! The service: what the visitor came for. Whoever gets here has passed every gate.

mod doubt;
mod echo;
mod forward;
mod frames;
pub mod run;
mod tally;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;

use crate::identity::Caller;

pub use echo::Echo;
pub use forward::{Announce, Endpoint, Forward, ForwardSettings, Upstream};
pub use frames::{FrameReader, FrameWriter, Frames};
pub(crate) use frames::{give_back, linger};
pub use tally::{Counted, Tally};

/// What stands behind the door. An embedding program implements it for its own protocol.
///
/// `serve` runs once for each authorized session. It receives who calls and the session's [`Frames`]:
/// a `Stream` of messages that passed the frame gate, and a `Sink` for the answers. When it returns, the
/// session ends with `close_notify`; an error is recorded with the session, and a
/// [`crate::refusal::Refused`] keeps its code.
///
/// ```
/// use doorward::identity::Caller;
/// use doorward::service::{Frames, Service, Serving};
/// use futures_util::{SinkExt, StreamExt};
///
/// struct Greeter;
///
/// impl Service for Greeter {
///     fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
///         Box::pin(async move {
///             while let Some(frame) = frames.next().await {
///                 let said = String::from_utf8_lossy(frame?.payload()).into_owned();
///                 frames.send(format!("{}: {said}", caller.name()).into()).await?;
///             }
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// Serves one session until it is over.
    fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a>;

    /// Whether a member whose frame is refused may be told the code in a frame.
    ///
    /// Yes, unless the answers belong to a protocol in which such a frame would be read as data.
    fn reports_refusals(&self) -> bool {
        true
    }

    /// What the service does beside its sessions, from the start of the server until it drains; then it
    /// is dropped. Nothing, unless the service says otherwise.
    fn look_after(&self) -> Upkeep<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// What a service does beside its sessions, as it runs.
pub type Upkeep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One session of a service, as it runs.
pub type Serving<'a> =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'a>>;
