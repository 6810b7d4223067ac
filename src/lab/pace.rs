//! How fast this machine is now: deadlines are stretched by it, so that a slow machine is no wrong answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A factor from 1 to [`SLOWEST`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace(u32);

impl Pace {
    /// Measures a few visits over the loopback, which take this machine 2 ms when it is quiet.
    pub(crate) fn measure() -> Self {
        let begun = Instant::now();
        let done = visits();
        let took = begun.elapsed().as_micros();
        let factor = took.checked_div(QUIET.as_micros()).unwrap_or(1);
        let factor = u32::try_from(factor).unwrap_or(SLOWEST).clamp(1, SLOWEST);
        Self(if done.is_some() { factor } else { SLOWEST })
    }

    /// The quiet machine's time, stretched. Twice at least: a check must not fail for a moment's hiccup.
    pub(crate) fn stretch(self, quiet: Duration) -> Duration {
        quiet.saturating_mul(self.0.max(2))
    }
}

/// Twenty connections with a byte there and back, each with a thread as a program would start one.
fn visits() -> Option<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let at = listener.local_addr().ok()?;
    for _ in 0..20 {
        let mut visitor = TcpStream::connect_timeout(&at, LONGEST).ok()?;
        let (mut inside, _) = listener.accept().ok()?;
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            inside.read_exact(&mut byte).and_then(|()| inside.write_all(&byte))
        });
        visitor.set_read_timeout(Some(LONGEST)).ok()?;
        visitor.write_all(b"?").ok()?;
        visitor.read_exact(&mut [0]).ok()?;
        echo.join().ok()?.ok()?;
    }
    Some(())
}

/// What the twenty visits take on two quiet cores, with room to spare.
const QUIET: Duration = Duration::from_millis(5);
/// Beyond this a check takes longer than a learner waits.
const SLOWEST: u32 = 4;
const LONGEST: Duration = Duration::from_secs(2);
