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
mod anchor;
mod architecture;
mod audit;
mod bind;
mod cli;
mod client;
mod certs;
mod config;
mod handshake;
mod peers;
mod refresh;
mod inspect;
mod java;
mod nss;
mod service;
mod trust;
mod visitors;
