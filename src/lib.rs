//! Doorward stands in front of a socket service and lets nobody through who has not passed every gate.

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
pub mod audit;
pub(crate) mod connection;
pub mod config;
pub mod server;
