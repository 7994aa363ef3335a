//! `tieout sweep`: the files without a source, listed; moved to the trash once somebody has looked; a folder taken over.
//!
//! Leaves what may go to the janitor. Easy to get wrong: it runs beside the server, so it changes no row.
use super::opened::{self, Sharing};
use super::output::{complain, say};
use crate::actors::janitor::{self, FileSweep, FileSweeper, Permission, UploadsState};
use crate::config::{Config, Overrides};
use crate::db::Store;
use clap::Args;
use std::fmt::Write;
use std::process::ExitCode;

/// `tieout sweep …`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// Move the listed files to uploads/.trash, however many they are
    #[arg(long, conflicts_with = "adopt")]
    confirm: bool,
    /// Make the folder of uploads this database's alone: the marks of other installations are taken away. Stop them first
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; 0 when it was done, also when there was nothing to do, else 1.
pub fn run(arguments: &SweepArgs) -> ExitCode {
    let done = opened::settings(&arguments.settings).and_then(|config| {
        opened::block_on(opened::with_store(&config, Sharing::Beside, async |store| {
            carry_out(arguments, &config, store).await
        }))
    });
    match done {
        Ok((text, code)) => say(&text, code),
        Err(error) => {
            complain(&format!("tieout: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(arguments: &SweepArgs, config: &Config, store: &Store) -> Result<(String, ExitCode), String> {
    let options = janitor::Options { trash_age: config.trash_age.0, ..janitor::Options::default() };
    let permission = if arguments.confirm { Permission::All } else { Permission::Look };
    let sweeper = FileSweeper::new(store, &config.data_dir, &options, permission);
    if arguments.adopt {
        let others = sweeper.adopt().await.map_err(|error| error.to_string())?;
        let text = match others.is_empty() {
            true => "the folder of uploads is this database's\n".to_owned(),
            false => format!("the folder of uploads is this database's; no longer that of {}\n", others.join(", ")),
        };
        return Ok((text, ExitCode::SUCCESS));
    }
    let swept = sweeper.sweep(store.now_us()).await.map_err(|error| error.to_string())?;
    let done = !arguments.confirm || swept.state == UploadsState::Swept;
    Ok((shown(&swept, arguments.confirm), if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// One line a file, and a sentence.
fn shown(swept: &FileSweep, confirmed: bool) -> String {
    let mut text = String::new();
    for name in swept.strays.iter().chain(&swept.parts) {
        // Writing to a text cannot fail.
        let _written = writeln!(text, "{name}");
    }
    let files = swept.strays.len() + swept.parts.len();
    let _written = match &swept.state {
        UploadsState::Held { reason } => writeln!(text, "{reason}"),
        _ if confirmed => writeln!(
            text,
            "moved to uploads/.trash: {} of {} files; put back: {}",
            swept.moved, swept.total, swept.put_back
        ),
        _ if files == 0 => writeln!(text, "every one of {} files has a source, or is too young to go", swept.total),
        _ => writeln!(
            text,
            "{files} files without a source, {} in all; --confirm moves them to uploads/.trash",
            swept.total
        ),
    };
    text
}
