//! Systems on which no unix socket can be had: there is no admin socket, and whoever asks is told so.

use std::path::Path;

use super::{Answer, Question};
use crate::config::AdminSettings;
use crate::problem::{Fault, Problem};
use crate::server::Control;

/// An admin socket, which this system has none of.
#[derive(Debug)]
pub enum Admin {}

impl Admin {
    /// Refuses.
    ///
    /// # Errors
    /// [`Fault::AdminNoSocket`], always.
    pub fn open(settings: &AdminSettings) -> Result<Self, Problem> {
        Err(none().at(&settings.socket.place))
    }

    /// Refuses.
    ///
    /// # Errors
    /// [`Fault::AdminNoSocket`], always.
    pub fn replace(settings: &AdminSettings) -> Result<Self, Problem> {
        Self::open(settings)
    }

    /// Cannot be called, because there is no value of this type.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, _: Control) -> Result<(), Problem> {
        match self {}
    }
}

/// A server to succeed, which this system has none of.
#[derive(Debug)]
pub enum Predecessor {}

impl Predecessor {
    /// Refuses.
    ///
    /// # Errors
    /// [`Fault::AdminNoSocket`], always.
    pub fn ask(_: &Path) -> Result<Self, Problem> {
        Err(none())
    }

    /// Cannot be called, because there is no value of this type.
    #[must_use]
    pub fn sockets(&mut self) -> Vec<std::net::TcpListener> {
        match *self {}
    }

    /// Cannot be called, because there is no value of this type.
    ///
    /// # Errors
    /// None.
    pub fn retire(self) -> Result<(), Problem> {
        match self {}
    }
}

/// Refuses.
///
/// # Errors
/// [`Fault::AdminNoSocket`], always.
pub fn ask(_: &Path, _: &Question) -> Result<Answer, Problem> {
    Err(none())
}

fn none() -> Problem {
    let what = "this system has no unix sockets";
    Problem::error(Fault::AdminNoSocket, what, "remove [admin]; stop and start the server instead")
}
