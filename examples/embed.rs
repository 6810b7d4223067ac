//! An own service behind every gate: it greets its callers by the name that was permitted.
//!
//! Run `cargo run -- serve` once, so that there are certificates; then `cargo run --example embed`, and
//! `cargo run -- connect hello` from a second terminal.

use std::path::Path;

use doorward::config::Config;
use doorward::identity::Caller;
use doorward::problem::Problem;
use doorward::server::Server;
use doorward::service::{Frames, Service, Serving};
use futures_util::{SinkExt, StreamExt};

struct Greeter;

impl Service for Greeter {
    fn serve<'a>(&'a self, caller: &'a Caller, frames: &'a mut Frames) -> Serving<'a> {
        Box::pin(async move {
            while let Some(frame) = frames.next().await {
                let said = String::from_utf8_lossy(frame?.payload()).into_owned();
                frames.send(format!("{}, you said {said}", caller.name()).into()).await?;
            }
            Ok(())
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Vec<Problem>> {
    let (config, _warnings) = Config::read(Path::new("config/doorward.toml"))?;
    let server = Server::open(&config)?.with_service("echo", Greeter);
    let Some(server) = server else { return Ok(()) };
    server.run().await.map_err(|problem| vec![problem])
}
