//! What each exercise's check does: a file an exercise, named by its number.

mod e01;
mod e02;
mod e03;
mod e05;
mod e06;
mod e07;
mod e08;
mod e10;
mod e11;
mod e12;
mod e13;
mod e14;
mod e15;
mod e19;
mod e20;
mod e21;
mod e22;
mod exam;

use super::seed::Seed;
use super::stage::{Stage, Stop};
use super::variant::Variant;
use super::verdict::Findings;

/// Visits and attacks what is on the stage.
///
/// # Errors
/// [`Stop`], where it cannot go on.
pub(crate) async fn examine(check: &str, stage: &Stage) -> Result<Findings, Stop> {
    match check {
        "01" => Box::pin(e01::examine(stage)).await,
        "02" => Box::pin(e02::examine(stage)).await,
        "03" => e03::examine(stage).await,
        "05" => e05::examine(stage).await,
        "06" => Box::pin(e06::examine(stage)).await,
        "07" => e07::examine(stage).await,
        "08" => Box::pin(e08::examine(stage)).await,
        "10" => e10::examine(stage).await,
        "11" => e11::examine(stage).await,
        "12" => e12::examine(stage).await,
        "13" => Box::pin(e13::examine(stage)).await,
        "14" => e14::examine(stage).await,
        "15" => e15::examine(stage).await,
        "19" => e19::examine(stage).await,
        "20" => Box::pin(e20::examine(stage)).await,
        "21" => Box::pin(e21::examine(stage)).await,
        "22" => e22::examine(stage).await,
        other => Err(Stop::machine(format!("this program has no check named {other}"))),
    }
}

/// What an exercise adds to the learner's variant.
pub(crate) fn vary(check: &str, variant: Variant, seed: &Seed) -> Variant {
    match check {
        "07" => e07::vary(variant, seed),
        "22" => e22::vary(variant, seed),
        _ => variant,
    }
}
