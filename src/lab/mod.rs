//! The lab: exercises that really attack the learner's own server, and say what happened on the wire.
//!
//! An exercise is a folder of `labs` and a check in [`exercises`]. A check copies the learner's folder to a
//! [`stage`], starts what is in it, lets the honest client and the attacker visit, and comes to a [`verdict`]
//! in four parts. Where the system allows it, all of it happens in a network of its own ([`lan`]).
//!
//! Attack code takes a [`knock::Target`], which only the stage makes, and only for addresses of this lab.

pub(crate) mod author;
pub(crate) mod board;
pub(crate) mod catalogue;
pub(crate) mod check;
pub(crate) mod door;
pub(crate) mod class;
pub(crate) mod clinic;
pub(crate) mod club;
pub(crate) mod confine;
mod exercises;
pub(crate) mod filter;
pub(crate) mod frames;
mod guest;
pub(crate) mod home;
mod host;
pub(crate) mod journal;
mod knock;
pub(crate) mod lan;
pub(crate) mod look;
pub(crate) mod night;
mod pace;
mod papers;
pub(crate) mod picture;
mod program;
mod relay;
pub(crate) mod retry;
pub(crate) mod rollcall;
pub(crate) mod seat;
pub(crate) mod seed;
mod stage;
pub(crate) mod talk;
pub(crate) mod triage;
mod variant;
pub(crate) mod verdict;
pub(crate) mod worked;
