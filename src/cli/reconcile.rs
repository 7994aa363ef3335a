//! `tieout reconcile`: two files in, matches and what is left over out, in one process.
//!
//! Opens the files, draws the progress bar and the table, writes the output files; every decision is the engine's.
//! Easy to get wrong: the exit code is a contract (0 finished, 1 failed, 2 bad input), and so are the file names.
use super::input::{self, Input, InputError};
use super::reading::ReadingFlags;
use super::results::{ResultFlags, end};
use crate::reconcile::{
    Control, Outcome, Phase, Progress, ReadError, ReadOptions, RuleError, RuleSet, RunError, Side, SideReading, Table,
    Unattended, estimate, infer_from_tables, inferred_rules, read, report, run as run_engine, run_adjusted,
    run_inferred, settle,
};
use std::io::{IsTerminal, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reconcile two CSV files and report what matches, what differs and what is missing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReconcileArgs {
    /// First file, e.g. the ledger; `-` is standard input
    #[arg(value_name = "LEFT.csv")]
    pub left: PathBuf,
    /// Second file, e.g. the bank statement; `-` is standard input
    #[arg(value_name = "RIGHT.csv")]
    pub right: PathBuf,
    /// Rules as JSON or TOML, `-` from standard input; inferred from the columns when left out
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Column that names a row of the first file [default: its first unique column]
    #[arg(long, value_name = "COL")]
    pub left_id: Option<String>,
    /// Column that names a row of the second file [default: its first unique column]
    #[arg(long, value_name = "COL")]
    pub right_id: Option<String>,
    /// What comes of what was found.
    #[command(flatten)]
    pub results: ResultFlags,
    /// Say how the files are read, what would be compared and how many pairs, and stop: nothing is matched or written
    #[arg(long, conflicts_with = "print_rules")]
    pub dry_run: bool,
    /// Match only so many rows of the first file, chosen by their content, with the whole second file
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// How each file is read, where it is not recognised.
    #[command(flatten)]
    pub reading: ReadingFlags,
}

const EXAMPLES: &str = "\
Examples:
  tieout reconcile ledger.csv bank.csv
      Infer the rules and print a summary.
  tieout reconcile ledger.csv bank.csv --out result
      Also write result/matches.csv, candidates.csv, unmatched_left.csv, unmatched_right.csv, errors.csv,
      summary.json.
  tieout reconcile ledger.csv bank.csv --right-header 6 --right-dates dmy --right-sign flip
      Say how the second file is read; what was understood is printed first.
  tieout reconcile ledger.csv bank.csv --dry-run
      See what would be compared, and how much work it is.
  tieout reconcile ledger.csv bank.csv --sample 1000
      See what comes of a thousand rows of the first file. Its figures are not those of the whole files.
  tieout reconcile ledger.csv bank.csv --print-rules > rules.json
  tieout reconcile ledger.csv bank.csv --rules rules.json --out result
      Look at the inferred rules, change them, use them.

Amounts, dates, delimiters and encodings are recognised. Columns may have different names in the two files.

Exit code: 0 finished (also with differences), 1 failed, 2 bad input.";

/// Why the command stopped; decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{file}: {error}")]
    Rules { file: String, error: RuleError },
    #[error("{0}")]
    Run(#[from] RunError),
    #[error("{0}")]
    Input(#[from] InputError),
    #[error("open {path}: {source}")]
    Open { path: String, source: std::io::Error },
    #[error("standard input can be read once; `-` stands twice on the command line")]
    Twice,
    #[error("write {path}: {reason}")]
    Write { path: String, reason: String },
}

impl Failure {
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Read(ReadError::Io { .. } | ReadError::Cancelled)
            | Self::Input(InputError::Keep { .. })
            | Self::Run(RunError::Cancelled)
            | Self::Write { .. } => ExitCode::from(1),
            Self::Read(_) | Self::Rules { .. } | Self::Run(_) | Self::Input(_) | Self::Open { .. } | Self::Twice => {
                ExitCode::from(2)
            }
        }
    }
}

/// Runs the command: results to the directory, the summary to stdout, progress and errors to stderr.
pub fn run(args: &ReconcileArgs) -> ExitCode {
    end("reconcile", reconcile(args))
}

/// Does the work; returns what is to be printed.
fn reconcile(args: &ReconcileArgs) -> Result<String, Failure> {
    let started = std::time::Instant::now();
    let inputs = [Some(&args.left), Some(&args.right), args.rules.as_ref()];
    if inputs.into_iter().flatten().filter(|path| input::is_standard_input(path)).count() > 1 {
        return Err(Failure::Twice);
    }
    let given = args.rules.as_deref().map(load_rules).transpose()?;
    let bar = Bar::new();
    let mut left =
        load(&args.left, &args.left_id, &args.reading.left, given.as_ref(), Side::Left, args.results.strict, &bar)?;
    let mut right =
        load(&args.right, &args.right_id, &args.reading.right, given.as_ref(), Side::Right, args.results.strict, &bar)?;
    let compared = given.as_ref().filter(|rules| !rules.compare.is_empty());
    settle(&mut left, &mut right, compared, &bar).map_err(RunError::from)?;
    if args.results.print_rules {
        bar.finish();
        let mut rules = complete(given, || inferred_rules(&left, &right, &Unattended))?;
        rules.left = args.reading.left.or(&rules.left);
        rules.right = args.reading.right.or(&rules.right);
        return Ok(serde_json::to_string_pretty(&rules).expect("rules are plain data") + "\n");
    }
    if args.dry_run {
        let text = dry_run(compared, &left, &right, &bar)?;
        bar.finish();
        return Ok(text);
    }
    let outcome = match (compared, args.sample) {
        (Some(rules), None) => run_engine(&left, &right, rules, &bar),
        (None, None) => run_inferred(&left, &right, &bar),
        (Some(rules), Some(rows)) => {
            left = left.sample(rows as usize);
            run_engine(&left, &right, rules, &bar)
        }
        (None, Some(rows)) => {
            // Inferred from the whole files, so that the sample is compared as they would be.
            let (rules, comparing) = infer_from_tables(&left, &right, &bar).map_err(RunError::from)?;
            left = left.sample(rows as usize);
            run_adjusted(&left, &right, rules, comparing, &bar)
        }
    };
    bar.finish();
    let outcome = outcome?;
    args.results.write(|make, cells| report::write_all(make, cells, &outcome, &left, &right))?;
    let mut text = String::new();
    for table in [&left, &right] {
        table.reading().lines(&table.name).iter().for_each(|line| text += &format!("{line}\n"));
    }
    outcome.comparing.lines().iter().for_each(|line| text += &format!("{line}\n"));
    let rows = left.len() + right.len();
    if let Some(of) = left.reading().sampled_from {
        text += &format!(
            "a sample: {} of {of} rows of the left file with all of the right one; these figures are not those of the whole,\n\
             and an unmatched right row may belong to a left row that is not in the sample\n",
            left.len()
        );
    }
    text += &format!("{}\n", summary(&outcome, &left, &right));
    text += &format!("{rows} rows in {:.2} s\n", started.elapsed().as_secs_f64());
    for table in [&left, &right] {
        if let Some(line) = table.bad_rows_line() {
            text += &format!("{line}\n");
        }
    }
    text += &args.results.line("to write the matches and what is left over");
    Ok(text)
}

/// What a run would do.
fn dry_run(rules: Option<&RuleSet>, left: &Table, right: &Table, control: &dyn Control) -> Result<String, Failure> {
    let mut text = String::new();
    for table in [left, right] {
        table.reading().lines(&table.name).iter().for_each(|line| text += &format!("{line}\n"));
    }
    let inferred;
    let rules = match rules {
        Some(rules) => {
            for compare in &rules.compare {
                text += &format!("compares {} with {}: {}\n", compare.left, compare.right, compare.kind.as_str());
            }
            rules
        }
        None => {
            let (rules, comparing) = infer_from_tables(left, right, control).map_err(RunError::from)?;
            comparing.lines().iter().for_each(|line| text += &format!("{line}\n"));
            inferred = rules;
            &inferred
        }
    };
    let work = estimate(left, right, rules, control)?;
    let about = if work.is_exact { "" } else { "about " };
    let mean = work.pairs as f64 / left.len().max(1) as f64;
    text += &format!(
        "would compare {about}{} pairs of {} and {} rows, {mean:.1} for a row of the left file\n",
        work.pairs,
        left.len(),
        right.len()
    );
    for table in [left, right].into_iter().filter(|table| table.error_count > 0) {
        text += &format!("{}: {} bad row(s) would be left out\n", table.name, table.error_count);
    }
    text += "dry run: nothing was matched, no file was written\n";
    Ok(text)
}

pub(super) fn load_rules(path: &Path) -> Result<RuleSet, Failure> {
    let (file, mut text) = (input::name(path), String::new());
    let failed = |source| Failure::Open { path: file.clone(), source };
    Input::open(path)?.rewound().and_then(|mut from| from.read_to_string(&mut text)).map_err(failed)?;
    RuleSet::parse(&text).map_err(|error| Failure::Rules { file, error })
}

/// Given rules, or inferred ones; of given ones without comparisons, what they say about reading.
pub(super) fn complete(
    given: Option<RuleSet>,
    infer: impl FnOnce() -> Result<RuleSet, RunError>,
) -> Result<RuleSet, Failure> {
    Ok(match given {
        Some(rules) if rules.compare.is_empty() => RuleSet { left: rules.left, right: rules.right, ..infer()? },
        Some(rules) => rules,
        None => infer()?,
    })
}

/// Reads a file. Rules that compare a column as amounts or dates also decide its type.
pub(super) fn load(
    path: &Path,
    id_column: &Option<String>,
    reading: &SideReading,
    rules: Option<&RuleSet>,
    side: Side,
    strict: bool,
    control: &dyn Control,
) -> Result<Table, Failure> {
    let name = input::name(path);
    let mut options =
        ReadOptions { name, id_column: id_column.clone(), strict, reading: reading.clone(), ..ReadOptions::default() };
    if let Some(rules) = rules {
        rules.reading(side, &mut options);
    }
    Ok(read(Input::open(path)?.into_reader()?, None, &options, control)?)
}

fn summary(outcome: &Outcome, left: &Table, right: &Table) -> comfy_table::Table {
    let s = &outcome.summary;
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["", "left", "right"]);
    let mut row = |name: &str, l: u64, r: u64| {
        table.add_row([name.to_owned(), l.to_string(), r.to_string()]);
    };
    let rows = |side: Side, pick: &dyn Fn(&crate::reconcile::Match) -> bool| {
        outcome.matches.iter().filter(|m| pick(m)).map(|m| m.rows(side).count() as u64).sum::<u64>()
    };
    let mut state = |name: &str, state| {
        let pick = |m: &crate::reconcile::Match| m.state == state;
        row(name, rows(Side::Left, &pick), rows(Side::Right, &pick));
    };
    state("matched", crate::reconcile::MatchState::Auto);
    state("to review", crate::reconcile::MatchState::Review);
    state("discrepancy", crate::reconcile::MatchState::Discrepancy);
    row("unmatched", s.unmatched_left, s.unmatched_right);
    row("bad rows", left.error_count, right.error_count);
    row("total", s.left_rows + left.error_count, s.right_rows + right.error_count);
    table
}

/// The progress bar; hidden when stderr is no terminal.
pub(super) struct Bar(indicatif::ProgressBar);

impl Bar {
    pub(super) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            indicatif::ProgressBar::new(0)
        } else {
            indicatif::ProgressBar::hidden()
        };
        let style = indicatif::ProgressStyle::with_template("{msg:<12} {bar:40} {pos}/{len} {elapsed}");
        bar.set_style(style.expect("the template is a constant"));
        Self(bar)
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Control for Bar {
    fn progress(&self, progress: Progress) -> ControlFlow<()> {
        if !self.0.is_hidden() {
            self.0.set_message(Phase::as_str(progress.phase));
            self.0.set_length(progress.total.max(progress.done));
            self.0.set_position(progress.done);
        }
        ControlFlow::Continue(())
    }
}
