//! What doorward does, over real sockets: one binary, a file per room.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test whose scene cannot be set should stop there, and say so"
)]

mod support;

mod accept;
#[cfg(unix)]
mod admin;
mod architecture;
mod audit;
mod bind;
mod cli;
mod explain;
mod firewall;
mod client;
mod certs;
mod config;
mod greeting;
mod forward;
mod handshake;
mod peers;
mod balancers;
mod reload;
mod inspect;
mod service;
mod trust;
mod visitors;
