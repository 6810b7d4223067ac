//! The status page: a running server in a browser. Its files are for everyone who may read; what is going on is only
//! for who has the token.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use serde::Serialize;

use super::Control;
use super::status::Status;
use crate::audit::Audit;
use crate::metrics::Sample;
use crate::pki::hex;
use crate::problem::{Fault, Problem};
use crate::refusal::Refusal;
use crate::web::{Answer, Asked};

/// What a page is made from.
pub(super) struct Page {
    control: Control,
    audit: Arc<Audit>,
    token: Token,
}

/// What is going on now.
#[derive(Debug, Serialize)]
struct State {
    status: Status,
    /// How many sessions are open; not all of them are in the status.
    open: usize,
    history: Vec<Sample>,
}

/// A reason to refuse, as the page tells it.
#[derive(Debug, Serialize)]
struct Reason {
    code: &'static str,
    room: &'static str,
    sentence: &'static str,
    remedy: &'static str,
}

impl Page {
    /// # Errors
    /// [`Fault::CertsCryptography`] where the system has no randomness for a token.
    pub(super) fn new(control: Control, audit: Arc<Audit>) -> Result<Self, Problem> {
        Ok(Self { control, audit, token: Token::new()? })
    }

    /// Who has this may look.
    pub(super) fn token(&self) -> &str {
        &self.token.0
    }

    /// What a reader gets.
    pub(super) async fn answer(&self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/" => Answer::Page(HTML, include_str!("page.html").to_owned()),
            "/page.css" => Answer::Page(CSS, include_str!("page.css").to_owned()),
            "/page.js" => Answer::Page(JAVASCRIPT, include_str!("page.js").to_owned()),
            "/reasons" => json(&reasons()),
            "/state" if asked.token.as_deref().is_some_and(|token| self.token.is(token)) => {
                self.state().await
            }
            "/state" => Answer::Locked,
            _ => Answer::Missing,
        }
    }

    async fn state(&self) -> Answer {
        // It has stopped; there is nobody left to say how it is.
        let Ok(mut status) = self.control.status().await else { return Answer::Missing };
        let open = status.names.values().sum();
        status.sessions.truncate(MOST_SHOWN);
        status.last.truncate(MOST_SHOWN);
        status.bans.truncate(MOST_SHOWN);
        json(&State { status, open, history: self.audit.history() })
    }
}

fn reasons() -> Vec<Reason> {
    let reason = |refusal: &Refusal| Reason {
        code: refusal.code(),
        room: refusal.room().word(),
        sentence: refusal.sentence(),
        remedy: refusal.remedy(),
    };
    Refusal::ALL.iter().map(reason).collect()
}

fn json(value: &impl Serialize) -> Answer {
    serde_json::to_string(value).map_or(Answer::Missing, |text| Answer::Page(JSON, text))
}

/// 256 random bits in hexadecimal, new with each start.
struct Token(String);

impl Token {
    fn new() -> Result<Self, Problem> {
        let mut bytes = [0_u8; 32];
        rand::fill(&mut bytes).map_err(|aws_lc_rs::error::Unspecified| {
            let what = "no random token for the status page could be made";
            Problem::error(
                Fault::CertsCryptography,
                what,
                "look at the system's random number generator",
            )
        })?;
        Ok(Self(hex(&bytes)))
    }

    /// How long this takes does not tell how much of it was right.
    fn is(&self, shown: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), shown.as_bytes()).is_ok()
    }
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
/// As much as a person looks through; the counts tell of all.
const MOST_SHOWN: usize = 100;
