//! Doorward stands in front of a socket service and lets nobody through who has not passed every gate.
//!
//! A connection is a visitor walking down a hallway. Each room lets it on, or turns it away with one
//! named reason:
//!
//! ```text
//!  bind ──▶ accept ──▶ address ──▶ handshake ──▶ identity ──▶ frame ──▶ service
//!  which      who       may this     is it TLS,    may THIS      is each    echo, forward,
//!  sockets    may       address      whose         name use      message    or your own
//!  may exist  queue     knock        certificate   THIS service  well
//!  at all                                          from HERE     formed
//! ```
//!
//! One word per room, everywhere: the module, the table of the configuration, the prefix of the code a
//! refusal has, the test. A yes is a value that carries the stream from room to room
//! ([`accept::Accepted`], [`accept::Introduced`], [`address::Admitted`], [`handshake::Authenticated`], [`identity::Authorized`],
//! [`identity::Seated`]); each is made by one function, so that skipping a gate does not compile. A no
//! is a [`refusal::Refusal`].
//!
//! The order of the `mod` lines below is the law: a module uses only modules above it.
//!
//! # No way around a gate
//!
//! This is the way through the first two rooms:
//!
//! ```
//! use doorward::accept::Introduced;
//! use doorward::address::{AddressGate, Admitted};
//! use doorward::handshake::{Authenticated, Handshake};
//! use tokio::net::TcpStream;
//!
//! async fn enter(gate: &AddressGate, handshake: &Handshake, visitor: Introduced<TcpStream>) -> Option<Authenticated<TcpStream>> {
//!     let visitor: Admitted<TcpStream> = gate.admit(visitor).ok()?;
//!     handshake.perform(visitor).await.ok()
//! }
//! ```
//!
//! The same without the address gate is no program:
//!
//! ```compile_fail
//! use doorward::accept::Introduced;
//! use doorward::address::{AddressGate, Admitted};
//! use doorward::handshake::{Authenticated, Handshake};
//! use tokio::net::TcpStream;
//!
//! async fn enter(gate: &AddressGate, handshake: &Handshake, visitor: Introduced<TcpStream>) -> Option<Authenticated<TcpStream>> {
//!     handshake.perform(visitor).await.ok()
//! }
//! ```
//!
//! Nor can a seat among the members be had without the identity gate, whose yes is the only value that
//! can be seated:
//!
//! ```
//! use doorward::accept::Members;
//! use doorward::handshake::Authenticated;
//! use doorward::identity::{IdentityGate, Seated};
//! use tokio::net::TcpStream;
//!
//! fn seat(gate: &IdentityGate, members: &Members, visitor: Authenticated<TcpStream>) -> Option<Seated<TcpStream>> {
//!     let visitor = gate.authorize(visitor).ok()?;
//!     visitor.seated(members).ok()
//! }
//! ```
//!
//! ```compile_fail
//! use doorward::accept::Members;
//! use doorward::handshake::Authenticated;
//! use doorward::identity::{IdentityGate, Seated};
//! use tokio::net::TcpStream;
//!
//! fn seat(gate: &IdentityGate, members: &Members, visitor: Authenticated<TcpStream>) -> Option<Seated<TcpStream>> {
//!     visitor.seated(members).ok()
//! }
//! ```
//!
//! And nobody writes a yes by hand:
//!
//! ```compile_fail
//! use doorward::accept::Introduced;
//! use doorward::address::Admitted;
//!
//! fn forge(visitor: Introduced<()>) -> Admitted<()> {
//!     let peer = visitor.peer();
//!     Admitted { stream: (), peer, seat: todo!() }
//! }
//! ```

pub mod place;
pub mod peer;
pub mod refusal;
pub mod problem;
pub mod network;
pub mod pki;
pub mod bind;
pub mod backoff;
pub mod accept;
pub mod address;
pub mod handshake;
pub mod identity;
pub mod frame;
pub mod service;
pub mod bans;
pub mod metrics;
pub mod audit;
pub(crate) mod web;
pub(crate) mod trial;
pub(crate) mod connection;
pub mod client;
pub mod tunnel;
pub mod sandbox;
pub mod systemd;
pub mod config;
pub mod paper;
pub mod firewall;
pub mod server;
pub mod admin;
pub mod proof;
pub mod probe;
pub mod fit;
