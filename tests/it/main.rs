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
mod anchor;
mod architecture;
mod audit;
#[cfg(unix)]
mod bans;
#[cfg(target_os = "linux")]
mod bench;
mod bind;
mod cli;
mod explain;
mod firewall;
mod client;
mod certs;
mod config;
#[cfg(unix)]
mod dry_run;
mod greeting;
mod forward;
mod handshake;
#[cfg(unix)]
mod metrics;
#[cfg(unix)]
mod page;
mod peers;
#[cfg(unix)]
mod probe;
mod postgres;
mod ready;
mod balancers;
#[cfg(unix)]
mod record;
mod reload;
mod renewal;
mod incidents;
mod lab;
mod inspect;
#[cfg(target_os = "linux")]
mod kernel;
// They look into /proc, and count on a keeper.
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod sandbox;
mod java;
mod nss;
mod service;
#[cfg(unix)]
mod succession;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod systemd;
mod trust;
mod tunnel;
mod visitors;
