//! `tieout generate`: a made-up ledger and bank statement with the truth.
//!
//! Opens the files; what stands in them is the engine's. Easy to get wrong: files that are there are not overwritten.
use super::output::complain;
use crate::reconcile::generate::{Dialect, Plan, generate, write_bank, write_breaks, write_ledger, write_truth};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a made-up ledger and bank statement, with the true pairs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct GenerateArgs {
    /// Payments; each file has about as many rows
    #[arg(value_name = "PAYMENTS", value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    pub payments: u32,
    /// Directory for ledger.csv, bank.csv, truth.csv and breaks.csv, made if needed
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The same seed makes the same files
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Days over which the payments are spread; fewer days, more look-alikes
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub days: u16,
    /// How the ledger is written: plain, german, american, debit-credit, excel
    #[arg(long, value_name = "DIALECT", default_value = "plain")]
    pub ledger_dialect: Dialect,
    /// How the bank statement is written, likewise
    #[arg(long, value_name = "DIALECT", default_value = "plain")]
    pub bank_dialect: Dialect,
}

const HELP: &str = "\
Examples:
  tieout generate 10000 data
  tieout generate 100000 busy --days 31 --seed 7
      A month instead of a year: many more payments of the same amount within days of each other.
  tieout generate 1000 data --bank-dialect german
      The bank statement with lines above its header, semicolons, decimal commas and German dates.

truth.csv names the pairs (ledger_id, bank_id, kind, group), breaks.csv the rows that must stay alone. `tieout evaluate` reads it.

Exit code: 0 written, 1 failed, 2 a file is there already.";

enum Failure {
    Exists(PathBuf),
    Write(PathBuf, String),
}

/// Runs the command: files to the directory, one line to stdout, errors to stderr.
pub fn run(args: &GenerateArgs) -> ExitCode {
    match write(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Exists(path)) => {
            complain(&format!("tieout generate: {} is there already; choose another directory", path.display()));
            ExitCode::from(2)
        }
        Err(Failure::Write(path, reason)) => {
            complain(&format!("tieout generate: write {}: {reason}", path.display()));
            ExitCode::from(1)
        }
    }
}

fn write(args: &GenerateArgs) -> Result<(), Failure> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).map_err(|e| Failure::Write(directory.clone(), e.to_string()))?;
    let names = ["ledger.csv", "bank.csv", "truth.csv", "breaks.csv"];
    if let Some(there) = names.map(|name| directory.join(name)).into_iter().find(|path| path.exists()) {
        return Err(Failure::Exists(there));
    }
    let made = generate(Plan { events: args.payments as usize, seed: args.seed, days: usize::from(args.days) });
    let to = |name: &str, content: &dyn Fn(BufWriter<File>) -> csv::Result<()>| {
        let path = directory.join(name);
        create(&path).and_then(|file| content(file).map_err(|e| Failure::Write(path, e.to_string())))
    };
    to("ledger.csv", &|out| write_ledger(out, &made, args.ledger_dialect))?;
    to("bank.csv", &|out| write_bank(out, &made, args.bank_dialect))?;
    to("truth.csv", &|out| write_truth(out, &made))?;
    to("breaks.csv", &|out| write_breaks(out, &made))
}

/// A file that was not there: `create_new`, so that nobody's file is overwritten.
fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    match File::create_new(path) {
        Ok(file) => Ok(BufWriter::new(file)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::Exists(path.to_owned())),
        Err(error) => Err(Failure::Write(path.to_owned(), error.to_string())),
    }
}
