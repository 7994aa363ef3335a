//! What can be typed after `tieout`.
//!
//! Easy to get wrong: `tieout` alone, and `tieout --listen …`, mean `tieout serve …`.
use super::{backup, dedupe, epochs, evaluate, generate, healthcheck, migrate, reconcile, restore, serve, sweep};
use crate::config::Overrides;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  tieout
      Serve on http://127.0.0.1:2000 with a SQLite file in ./tieout-data. Open it in a browser and drop two files.
  tieout reconcile ledger.csv bank.csv --out result
      The whole job in one process: infer the rules, match, print a summary, write the result files.
  tieout serve --listen 0.0.0.0:2000 --data-dir /var/lib/tieout
      Serve on every address. A bearer token is then required; it is made and printed on the first start.
  curl -F file=@bank.csv http://127.0.0.1:2000/api/v1/projects/ID/sources
      Upload a file to a project of a running server.

Settings come from flags, then the environment (TIEOUT_LISTEN, TIEOUT_DATA_DIR, TIEOUT_TOKEN, …), then a file given by
--config, then defaults. `tieout serve --help` lists them all.";

/// The version, and what it was built from and for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TIEOUT_COMMIT"), ", ", env!("TIEOUT_TARGET"), ")");

/// Reconcile files: find what belongs together, what differs and what is missing.
#[derive(Parser, Debug)]
#[command(name = "tieout", version = VERSION, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`, for when no command is given.
    #[command(flatten)]
    serve: HiddenServe,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve the page, the API and live updates (the default)
    Serve(serve::ServeArgs),
    /// Reconcile two CSV files here and now, without a server
    Reconcile(Box<reconcile::ReconcileArgs>),
    /// Find the rows of one file that mean the same
    Dedupe(Box<dedupe::DedupeArgs>),
    /// Compare the matches of a run with the true pairs
    Evaluate(evaluate::EvaluateArgs),
    /// Write a made-up ledger and bank statement, with the true pairs
    Generate(generate::GenerateArgs),
    /// Show or move the schema of the database, without serving
    Migrate(migrate::MigrateArgs),
    /// Save the database and the uploads as of one point in time, beside a running server
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    Restore(restore::RestoreArgs),
    /// Begin new histories of events, after a restore
    Epochs(epochs::EpochsArgs),
    /// List uploaded files that no source has, move them to the trash, or take a folder of uploads over
    Sweep(sweep::SweepArgs),
    /// Ask a running server whether it is alive; exits 0 or 1
    Healthcheck(healthcheck::HealthcheckArgs),
}

impl Arguments {
    /// The command to run.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(serve::ServeArgs { settings: self.serve.0 }))
    }
}

/// The settings, left out of the top-level help, which would drown in it.
#[derive(Debug)]
struct HiddenServe(Overrides);

impl clap::Args for HiddenServe {
    fn augment_args(command: clap::Command) -> clap::Command {
        let known: Vec<_> = command.get_arguments().map(|argument| argument.get_id().clone()).collect();
        let hide = |argument: clap::Arg| if known.contains(argument.get_id()) { argument } else { argument.hide(true) };
        Overrides::augment_args(command).mut_args(hide)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for HiddenServe {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        Overrides::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_settings_work_without_a_command() {
        Arguments::command().debug_assert();
        for words in [&["tieout", "--max-rows", "7"][..], &["tieout", "serve", "--max-rows", "7"][..]] {
            let Command::Serve(serve) = Arguments::try_parse_from(words).unwrap().into_command() else {
                panic!("{words:?} should serve")
            };
            assert_eq!(serve.settings.values["max_rows"], "7");
        }
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("reconcile") && !help.contains("--max-rows"), "{help}");
    }
}
