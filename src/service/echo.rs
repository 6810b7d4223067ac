//! Echo: every message goes back as it came.

use futures_util::{SinkExt, StreamExt};

use super::{Frames, Service, Serving};
use crate::identity::Caller;

/// Sends every message back to whoever sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn serve<'a>(&'a self, _caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            while let Some(frame) = frames.next().await {
                frames.send(frame?.into_payload()).await?;
            }
            Ok(())
        })
    }
}
