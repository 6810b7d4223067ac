//! Deadlines of the relay, on a clock that the test turns.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::{Cut, Tally, relay};

fn at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn code(ended: Result<(), Cut>) -> &'static str {
    ended.err().map_or("fine", |cut| cut.code())
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_side_that_reads_nothing_is_stalled() {
    for caller_is_stuck in [true, false] {
        let (mut caller, mut program) = duplex(1024);
        let (mut remote, mut server) = duplex(1024);
        let talking = if caller_is_stuck { &mut server } else { &mut program };
        talking.write_all(&[0; 1024]).await.unwrap();
        let tally = Tally::begin();
        let relaying = relay(&mut caller, &mut remote, at(), HOUR, &tally);
        let flooding = async {
            // The first buffer fits; the second is never read.
            talking.write_all(&[0; 4096]).await.unwrap();
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = relaying => ended,
            () = flooding => unreachable!(),
        };
        assert_eq!(code(ended), "tunnel.stalled");
    }
}

#[tokio::test(start_paused = true)]
async fn words_of_either_side_keep_a_session_alive() {
    let (mut caller, mut program) = duplex(1024);
    let (mut remote, mut server) = duplex(1024);
    let tally = Tally::begin();
    let idle = Duration::from_secs(10);
    let began = tokio::time::Instant::now();
    let talking = async {
        for turn in 0..10 {
            tokio::time::sleep(Duration::from_secs(8)).await;
            let (from, to) = if turn % 2 == 0 {
                (&mut program, &mut server)
            } else {
                (&mut server, &mut program)
            };
            from.write_all(b"x").await.unwrap();
            to.read_exact(&mut [0]).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = relay(&mut caller, &mut remote, at(), idle, &tally) => ended,
        () = talking => unreachable!(),
    };
    assert_eq!(code(ended), "tunnel.idle");
    assert_eq!(began.elapsed().as_secs(), 90);
    assert_eq!((tally.sent(), tally.received()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_before_its_first_word_has_turned_the_client_away() {
    let (mut caller, program) = duplex(1024);
    let (mut remote, server) = duplex(1024);
    drop(server);
    let tally = Tally::begin();
    let ended = relay(&mut caller, &mut remote, at(), HOUR, &tally).await;
    assert_eq!(code(ended), "client.turned-away");
    drop(program);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_has_said_all_before_may_hear_nothing() {
    let (mut caller, mut program) = duplex(1024);
    let (mut remote, mut server) = duplex(1024);
    program.shutdown().await.unwrap();
    let tally = Tally::begin();
    let serving = async {
        server.read_to_end(&mut Vec::new()).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let (ended, ()) = tokio::join!(relay(&mut caller, &mut remote, at(), HOUR, &tally), serving);
    ended.unwrap();
}
