//! Doorward stands in front of a socket service and lets nobody through who has not passed every gate.

pub mod place;
pub mod peer;
pub mod refusal;
pub mod problem;
pub mod pki;
