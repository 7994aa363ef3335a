//! `tieout reconcile`: two files in, matches and what is left over out, in one process.
//!
//! Opens the files, draws the progress bar and the table, writes the output files; every decision is the engine's.
//! Easy to get wrong: the exit code is a contract (0 finished, 1 failed, 2 bad input), and so are the file names.
use super::reading::ReadingFlags;
use crate::reconcile::{
    Control, Outcome, Phase, Progress, ReadError, ReadOptions, RuleError, RuleSet, RunError, Side, SideReading, Table,
    infer_from_tables, read, report, run as run_engine, run_inferred, settle,
};
use std::fs::File;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Reconcile two CSV files and report what matches, what differs and what is missing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReconcileArgs {
    /// First file, e.g. the ledger
    #[arg(value_name = "LEFT.csv")]
    pub left: PathBuf,
    /// Second file, e.g. the bank statement
    #[arg(value_name = "RIGHT.csv")]
    pub right: PathBuf,
    /// Rules as JSON or TOML; inferred from the columns when left out
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Column that names a row of the first file [default: its first unique column]
    #[arg(long, value_name = "COL")]
    pub left_id: Option<String>,
    /// Column that names a row of the second file [default: its first unique column]
    #[arg(long, value_name = "COL")]
    pub right_id: Option<String>,
    /// Directory for the result files, made if needed; without it only the summary is printed
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Stop at the first row that cannot be read, instead of reporting it and going on
    #[arg(long)]
    pub strict: bool,
    /// Print the rules that would be used, as JSON, and stop
    #[arg(long)]
    pub print_rules: bool,
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
  tieout reconcile ledger.csv bank.csv --print-rules > rules.json
  tieout reconcile ledger.csv bank.csv --rules rules.json --out result
      Look at the inferred rules, change them, use them.

Amounts, dates, delimiters and encodings are recognised. Columns may have different names in the two files.

Exit code: 0 finished (also with differences), 1 failed, 2 bad input.";

/// Why the command stopped; decides the exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{file}: {error}")]
    Rules { file: String, error: RuleError },
    #[error("{0}")]
    Run(#[from] RunError),
    #[error("open {path}: {source}")]
    Open { path: String, source: std::io::Error },
    #[error("write {path}: {reason}")]
    Write { path: String, reason: String },
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Read(ReadError::Io { .. } | ReadError::Cancelled)
            | Self::Run(RunError::Cancelled)
            | Self::Write { .. } => ExitCode::from(1),
            Self::Read(_) | Self::Rules { .. } | Self::Run(_) | Self::Open { .. } => ExitCode::from(2),
        }
    }
}

/// Runs the command: results to the directory, the summary to stdout, progress and errors to stderr.
pub fn run(args: &ReconcileArgs) -> ExitCode {
    match reconcile(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tieout reconcile: {failure}");
            failure.code()
        }
    }
}

fn reconcile(args: &ReconcileArgs) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let given = args.rules.as_deref().map(load_rules).transpose()?;
    let bar = Bar::new();
    let mut left = load(&args.left, &args.left_id, &args.reading.left, given.as_ref(), Side::Left, args.strict, &bar)?;
    let mut right =
        load(&args.right, &args.right_id, &args.reading.right, given.as_ref(), Side::Right, args.strict, &bar)?;
    let compared = given.as_ref().filter(|rules| !rules.compare.is_empty());
    settle(&mut left, &mut right, compared);
    if args.print_rules {
        bar.finish();
        let rules = complete(given, args, &left, &right);
        println!("{}", serde_json::to_string_pretty(&rules).expect("rules are plain data"));
        return Ok(());
    }
    let outcome = match compared {
        Some(rules) => run_engine(&left, &right, rules, &bar),
        None => run_inferred(&left, &right, &bar),
    };
    bar.finish();
    let outcome = outcome?;
    if let Some(directory) = &args.out {
        write_all(directory, &outcome, &left, &right)?;
    }
    for table in [&left, &right] {
        table.reading().lines(&table.name).iter().for_each(|line| println!("{line}"));
    }
    outcome.comparing.lines().iter().for_each(|line| println!("{line}"));
    println!("{}", summary(&outcome, &left, &right));
    let rows = left.len() + right.len();
    println!("{rows} rows in {:.2} s", started.elapsed().as_secs_f64());
    for table in [&left, &right] {
        if let Some(first) = table.errors.first() {
            let place = if first.column.is_empty() { String::new() } else { format!(", column {:?}", first.column) };
            println!(
                "{}: {} bad row(s) left out, first: line {}{place}, value {:?}: {}",
                table.name, table.error_count, first.line, first.value, first.reason
            );
        }
    }
    match &args.out {
        Some(directory) => println!("results in {}", directory.display()),
        None => println!("add --out DIR to write the matches and what is left over"),
    }
    Ok(())
}

fn load_rules(path: &Path) -> Result<RuleSet, Failure> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Failure::Open { path: file.clone(), source })?;
    RuleSet::parse(&text).map_err(|error| Failure::Rules { file, error })
}

/// The rules of the run: given, or inferred for the files as they were read, with what was said about reading them.
fn complete(given: Option<RuleSet>, args: &ReconcileArgs, left: &Table, right: &Table) -> RuleSet {
    let infer = || infer_from_tables(left, right).0;
    let mut rules = match given {
        Some(rules) if rules.compare.is_empty() => RuleSet { left: rules.left, right: rules.right, ..infer() },
        Some(rules) => rules,
        None => infer(),
    };
    rules.left = args.reading.left.or(&rules.left);
    rules.right = args.reading.right.or(&rules.right);
    rules
}

/// Reads a file. Rules that compare a column as amounts or dates also decide its type.
fn load(
    path: &Path,
    id_column: &Option<String>,
    reading: &SideReading,
    rules: Option<&RuleSet>,
    side: Side,
    strict: bool,
    control: &dyn Control,
) -> Result<Table, Failure> {
    let name = path.display().to_string();
    let mut options =
        ReadOptions { name, id_column: id_column.clone(), strict, reading: reading.clone(), ..ReadOptions::default() };
    if let Some(rules) = rules {
        rules.reading(side, &mut options);
    }
    let file = File::open(path).map_err(|source| Failure::Open { path: options.name.clone(), source })?;
    Ok(read(file, None, &options, control)?)
}

fn write_all(directory: &Path, outcome: &Outcome, left: &Table, right: &Table) -> Result<(), Failure> {
    let failed = |path: &Path, reason: String| Failure::Write { path: path.display().to_string(), reason };
    std::fs::create_dir_all(directory).map_err(|e| failed(directory, e.to_string()))?;
    report::write_all(|name| File::create(directory.join(name)), outcome, left, right)
        .map_err(|(name, reason)| failed(&directory.join(name), reason))
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
struct Bar(indicatif::ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            indicatif::ProgressBar::new(0)
        } else {
            indicatif::ProgressBar::hidden()
        };
        let style = indicatif::ProgressStyle::with_template("{msg:<12} {bar:40} {pos}/{len} {elapsed}");
        bar.set_style(style.expect("the template is a constant"));
        Self(bar)
    }

    fn finish(&self) {
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
