//! `tieout evaluate`: how good a result is, against the true pairs.
//!
//! Opens the files and prints; the counting is the engine's.
use super::input::{self, Input};
use super::output::{complain, say};
use crate::reconcile::evaluate::{Evaluation, Names, Score, Share, evaluate};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare a matches.csv with the true pairs: precision, recall and F1.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct EvaluateArgs {
    /// The matches.csv of a run
    #[arg(value_name = "MATCHES.csv")]
    pub matches: PathBuf,
    /// The true pairs: left record, right record, and if there is one a column `kind`
    #[arg(value_name = "TRUTH.csv")]
    pub truth: PathBuf,
    /// The truth names records by their physical line, not by their id
    #[arg(long)]
    pub by_line: bool,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
}

const HELP: &str = "\
Example:
  tieout generate 10000 data && tieout reconcile data/ledger.csv data/bank.csv --out result
  tieout evaluate result/matches.csv data/truth.csv

A match of several records counts as the pairs that its lines name. Intervals are 95 % (Wilson).

Exit code: 0 printed, 1 failed, 2 bad input.";

/// Runs the command: the report to stdout, errors to stderr.
pub fn run(args: &EvaluateArgs) -> ExitCode {
    let names = if args.by_line { Names::Lines } else { Names::Ids };
    let open = |path: &Path| Input::open(path).and_then(Input::into_reader).map_err(|error| error.to_string());
    let (matches_name, truth_name) = (input::name(&args.matches), input::name(&args.truth));
    let evaluated = open(&args.matches).and_then(|matches| {
        let truth = open(&args.truth)?;
        evaluate((&matches_name, matches), (&truth_name, truth), names).map_err(|error| error.to_string())
    });
    let report = match evaluated {
        Ok(evaluation) if args.json => serde_json::to_string_pretty(&evaluation).expect("scores are plain data") + "\n",
        Ok(evaluation) => text(&evaluation),
        Err(error) => {
            complain(&format!("tieout evaluate: {error}"));
            return ExitCode::from(2);
        }
    };
    say(&report, ExitCode::SUCCESS)
}

fn text(evaluation: &Evaluation) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["", "precision", "recall", "F1", "found", "true", "hits"]);
    let mut row = |name: String, score: &Score| {
        let counts = [score.found, score.truth, score.hits].map(|count| count.to_string());
        let shares = [score.precision, score.recall, score.f1].map(with_interval);
        table.add_row(std::iter::once(name).chain(shares).chain(counts));
    };
    row("all pairs".into(), &evaluation.all);
    row("one to one".into(), &evaluation.one_to_one);
    for (state, score) in &evaluation.states {
        row(format!("state {state}"), score);
    }
    for (kind, score) in &evaluation.kinds {
        row(format!("true {kind}"), score);
    }
    for (least, score) in &evaluation.thresholds {
        row(format!("p >= {least}"), score);
    }
    format!("{table}\n")
}

fn with_interval(share: Share) -> String {
    format!("{:.4} ({:.4}-{:.4})", share.value, share.low, share.high)
}
