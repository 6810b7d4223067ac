//! Backpressure: a side that does not read makes the other side wait, and fills no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{alice, door};
use crate::support::{Hall, Set};

/// Writes until the other side ends, and counts what was taken.
async fn flood(mut to: impl AsyncWriteExt + Unpin, taken: Arc<AtomicUsize>) {
    let words = vec![b'x'; 16 * 1024];
    while let Ok(written) = to.write(&words).await {
        taken.fetch_add(written, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_read_makes_the_visitor_wait() {
    let set = Set::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = upstream.local_addr().unwrap().to_string();
    let mut hall = Hall::of(&door(&set, &to, "", ""));
    let stream = alice(&set).enter(hall.address("door")).await.unwrap();
    let (deaf, _) = upstream.accept().await.unwrap();
    // From here on the clock runs by itself whenever nobody has anything to do.
    tokio::time::pause();
    let taken = Arc::new(AtomicUsize::new(0));
    let flood = tokio::spawn(flood(stream, Arc::clone(&taken)));
    assert_eq!(hall.verdict().await, "service.timeout", "it took nothing for its whole patience");
    let taken = taken.load(Ordering::Relaxed);
    assert!((100_000..BUFFERS).contains(&taken), "{taken} bytes were taken");
    flood.abort();
    drop(deaf);
}

#[tokio::test]
async fn a_visitor_that_does_not_read_makes_the_upstream_wait() {
    for frame in [
        "",
        "[service.frame]\nkind = \"lines\"\ntext = \"any\"\nmax = \"16MiB\"\nanswers = \"checked\"",
    ] {
        let set = Set::new();
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = upstream.local_addr().unwrap().to_string();
        let mut hall = Hall::of(&door(&set, &to, "", frame));
        let mut stream = alice(&set).enter(hall.address("door")).await.unwrap();
        stream.write_all(b"go\n").await.unwrap();
        let (mut talkative, _) = upstream.accept().await.unwrap();
        talkative.read_u8().await.unwrap();
        tokio::time::pause();
        let taken = Arc::new(AtomicUsize::new(0));
        let flood = if frame.is_empty() {
            tokio::spawn(flood(talkative, Arc::clone(&taken)))
        } else {
            tokio::spawn(flood_lines(talkative, Arc::clone(&taken)))
        };
        assert_eq!(hall.verdict().await, "service.stalled");
        let taken = taken.load(Ordering::Relaxed);
        assert!((100_000..BUFFERS).contains(&taken), "{taken} bytes were taken");
        flood.abort();
        tokio::time::resume();
    }
}

/// The same with an end of a line now and then.
async fn flood_lines(mut to: impl AsyncWriteExt + Unpin, taken: Arc<AtomicUsize>) {
    let mut words = vec![b'x'; 16 * 1024];
    words.push(b'\n');
    while to.write_all(&words).await.is_ok() {
        taken.fetch_add(words.len(), Ordering::Relaxed);
    }
}

/// What the system's own socket buffers hold on both connections (4 MiB to send, 6 MiB to receive, by
/// default the most), and as much again. A flood without backpressure takes this in a blink.
const BUFFERS: usize = 40 << 20;
