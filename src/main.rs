//! The `tieout` binary: parse the command line, run the command, end with its exit code.
use clap::Parser;
use std::process::ExitCode;
use tieout::cli::{
    Arguments, Command, backup, dedupe, epochs, evaluate, generate, healthcheck, migrate, restore, run_reconcile,
    serve, sweep,
};

fn main() -> ExitCode {
    match Arguments::parse().into_command() {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Reconcile(arguments) => run_reconcile(&arguments),
        Command::Dedupe(arguments) => dedupe::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Migrate(arguments) => migrate::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Epochs(arguments) => epochs::run(&arguments),
        Command::Sweep(arguments) => sweep::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
    }
}
