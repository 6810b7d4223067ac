//! The `doorward` command: every verb is a file in `cli`, and sees the library's public API alone.

mod cli;
mod lab;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
