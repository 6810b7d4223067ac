//! `doorward keep-program`: stands between a server and one program. Nobody types it.

use std::ffi::OsString;
use std::process::ExitCode;

use doorward::service::run::keep_program;

/// What the server tells the keeper it starts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    told: Vec<OsString>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    keep_program(&args.told)
}
