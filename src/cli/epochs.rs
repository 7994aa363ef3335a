//! `tieout epochs`: what to do about clients' positions after a restore.
//!
//! Leaves the change to `db`. Easy to get wrong: a running server knows the old epochs; all of them are stopped first.
use crate::app::store_options;
use crate::config::{Config, Overrides};
use crate::db::{Store, StoreError, projects};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use std::time::Duration;

/// How long the database may take to be opened, migrations included.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

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
    match carry_out(&renew.settings) {
        Ok(0) => {
            eprintln!("tieout: there is no project, so there is no epoch to renew");
            ExitCode::FAILURE
        }
        Ok(projects) => {
            println!("projects with a new epoch: {projects}; start the servers again");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tieout: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The error is readable alone.
fn carry_out(settings: &Overrides) -> Result<usize, String> {
    let config = Config::load(settings).map_err(|error| error.to_string())?;
    crate::telemetry::start_log(config.log.into());
    let options = store_options(&config).map_err(|error| error.to_string())?;
    // Its work on a migration takes two threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime.block_on(async {
        let store = Store::start(options).map_err(|error| error.to_string())?;
        let mut status = store.status();
        let settled = status.wait_for(|status| status.is_ready() || status.failed());
        let renewed = match tokio::time::timeout(OPEN_WITHIN, settled).await {
            Ok(Ok(status)) if !status.is_ready() => Err(status.reason().unwrap_or_default()),
            Ok(_) => projects::renew_epochs(&store).await.map_err(|error: StoreError| error.to_string()),
            Err(_elapsed) => Err(format!("the database was not open after {OPEN_WITHIN:?}")),
        };
        store.stop().await;
        renewed
    })
}
