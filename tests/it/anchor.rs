//! `doorward certs trust`: other programs trust the authority, in one shell or on a machine, and trust it no more.
//!
//! Every test has a home and a root of its own. No test comes near the trust stores of this machine.

mod environment;
pub(crate) mod scene;
mod stores;
