//! `tieout epochs`: what to do about clients' positions after a restore.
//!
//! Leaves the change to `db`. Easy to get wrong: a running server knows the old epochs; all of them are stopped first.
use super::opened::{self, Sharing};
use super::output::{complain, say};
use crate::config::Overrides;
use crate::db::{StoreError, projects};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// `tieout epochs …`.
#[derive(Args, Debug)]
pub struct EpochsArgs {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Begin a new history of events in every project: after the database was restored, or a standby that lagged took over.
    /// Clients then start from a snapshot instead of mixing two histories. Stop the servers first
    Renew(Renew),
}

#[derive(Args, Debug)]
struct Renew {
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; 0 when it was done, 1 when it was not or there was nothing to do.
pub fn run(arguments: &EpochsArgs) -> ExitCode {
    let What::Renew(renew) = &arguments.what;
    let renewed = opened::settings(&renew.settings).and_then(|config| {
        opened::block_on(opened::with_store(&config, Sharing::Alone, async |store| {
            projects::renew_epochs(store).await.map_err(|error: StoreError| error.to_string())
        }))
    });
    match renewed {
        Ok(0) => {
            complain("tieout: there is no project, so there is no epoch to renew");
            ExitCode::FAILURE
        }
        Ok(projects) => {
            say(&format!("projects with a new epoch: {projects}; start the servers again\n"), ExitCode::SUCCESS)
        }
        Err(error) => {
            complain(&format!("tieout: {error}"));
            ExitCode::FAILURE
        }
    }
}
