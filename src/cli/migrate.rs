//! `tieout migrate`: what the schema is, and moving it, without serving.
//!
//! Leaves what a migration does to `db`. Easy to get wrong: a server brings its schema up to date by itself when it starts;
//! this is for those who do it apart, and for the way back.
use super::opened;
use super::output::{complain, say};
use crate::app::store_options;
use crate::config::Overrides;
use crate::db::{Migrations, Options, Step};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// `tieout migrate …`.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List the migrations, and which of them the database has; exits 1 when it is older or newer than this binary
    Status(Where),
    /// Apply what is missing, each migration in a transaction of its own
    Up(Where),
    /// Take the latest migrations back; what they added is gone. Stop the servers first
    Down(Down),
}

#[derive(Args, Debug)]
struct Where {
    #[command(flatten)]
    settings: Overrides,
}

#[derive(Args, Debug)]
struct Down {
    /// How many to take back.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; 0 when the schema is as this binary wants it, for `down` when it was done.
pub fn run(arguments: &MigrateArgs) -> ExitCode {
    match carry_out(arguments) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("tieout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The error is readable alone.
fn carry_out(arguments: &MigrateArgs) -> Result<ExitCode, String> {
    let settings = match &arguments.what {
        What::Status(place) | What::Up(place) => &place.settings,
        What::Down(down) => &down.settings,
    };
    let config = opened::settings(settings)?;
    let options = store_options(&config).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let migrations = Migrations::of(options.clone());
    let steps = runtime.block_on(async {
        match &arguments.what {
            What::Status(_) => migrations.status().await,
            What::Up(_) => migrations.up().await,
            What::Down(down) => migrations.down(down.steps as usize).await,
        }
    })?;
    let complete = steps.iter().all(|step| step.applied && step.known);
    let done = complete || matches!(arguments.what, What::Down(_));
    Ok(say(&shown(&options, &steps), if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// One line a migration, and a sentence.
fn shown(options: &Options, steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let state = match step {
            Step { known: false, .. } => "unknown to this binary",
            Step { applied: true, .. } => "applied",
            Step { .. } => "missing",
        };
        text.push_str(&format!("{:<45} {state}\n", step.name));
    }
    let missing = steps.iter().filter(|step| !step.applied).count();
    let unknown = steps.iter().filter(|step| !step.known).count();
    let verdict = match (missing, unknown) {
        (0, 0) => "is the one that this binary expects".to_owned(),
        (missing, 0) => format!("is older than this binary: {missing} missing; `tieout migrate up` applies them"),
        _ => "is newer than this binary: start a newer tieout".to_owned(),
    };
    text + &format!("The schema of {} {verdict}.\n", options.place)
}
