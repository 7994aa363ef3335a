//! `tieout dedupe`: one file against itself, clusters of rows that mean the same out.
//!
//! Opens the file, prints, writes the result files; every decision is the engine's. Reading, progress and exit codes are those of
//! `reconcile`.
use super::input;
use super::reading::OneReadingFlags;
use super::reconcile::{Bar, Failure, complete, load, load_rules};
use super::results::{ResultFlags, end};
use crate::reconcile::{Deduped, Side, Table, Unattended, check_dedupe_rules, dedupe, dedupe_rules, write_deduped};
use std::path::PathBuf;
use std::process::ExitCode;

/// Find the rows of one file that mean the same: equal and nearly equal ones.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DedupeArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE.csv")]
    pub file: PathBuf,
    /// Rules as JSON or TOML, `-` from standard input; inferred from the columns when left out
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Column that names a row [default: its first unique column]
    #[arg(long, value_name = "COL")]
    pub id: Option<String>,
    /// What comes of what was found.
    #[command(flatten)]
    pub results: ResultFlags,
    /// How the file is read, where it is not recognised.
    #[command(flatten)]
    pub reading: OneReadingFlags,
}

const EXAMPLES: &str = "\
Examples:
  tieout dedupe customers.csv
      Infer what to compare and print how many rows stand together.
  tieout dedupe customers.csv --out result
      Also write result/clusters.csv, pairs.csv, errors.csv, summary.json.
  tieout evaluate result/pairs.csv truth.csv
      How good it is, where the true pairs are known.

Nothing is merged or removed: clusters are proposals, each with a row to keep.

Exit code: 0 finished, 1 failed, 2 bad input.";

/// Runs the command: results to the directory, the summary to stdout, progress and errors to stderr.
pub fn run(args: &DedupeArgs) -> ExitCode {
    end("dedupe", find(args))
}

fn find(args: &DedupeArgs) -> Result<String, Failure> {
    let started = std::time::Instant::now();
    if args.rules.as_ref().is_some_and(|rules| [rules, &args.file].iter().all(|path| input::is_standard_input(path))) {
        return Err(Failure::Twice);
    }
    let given = args.rules.as_deref().map(load_rules).transpose()?;
    if let (Some(rules), Some(path)) = (&given, &args.rules) {
        check_dedupe_rules(rules).map_err(|error| Failure::Rules { file: input::name(path), error })?;
    }
    let bar = Bar::new();
    let table = load(&args.file, &args.id, &args.reading.0, given.as_ref(), Side::Left, args.results.strict, &bar)?;
    if args.results.print_rules {
        bar.finish();
        let mut rules = complete(given, || dedupe_rules(&table, &Unattended))?;
        rules.left = args.reading.0.or(&rules.left);
        rules.right = rules.left.clone();
        return Ok(serde_json::to_string_pretty(&rules).expect("rules are plain data") + "\n");
    }
    let found = dedupe(&table, given.as_ref(), &bar);
    bar.finish();
    let found = found?;
    args.results.write(|make, cells| write_deduped(make, cells, &found, &table))?;
    let mut text = String::new();
    table.reading().lines(&table.name).iter().for_each(|line| text += &format!("{line}\n"));
    found.comparing.lines_of_one().iter().for_each(|line| text += &format!("{line}\n"));
    text += &format!("{}\n", summary(&found, &table));
    text += &format!("{} rows in {:.2} s\n", table.len(), started.elapsed().as_secs_f64());
    if found.summary.links_refused > 0 {
        text += &format!(
            "{} likely pair(s) not followed: the rows around them do not agree with each other\n",
            found.summary.links_refused
        );
    }
    if let Some(line) = table.bad_rows_line() {
        text += &format!("{line}\n");
    }
    text += &args.results.line("to write the clusters");
    Ok(text)
}

fn summary(found: &Deduped, table: &Table) -> comfy_table::Table {
    let s = &found.summary;
    let mut shown = comfy_table::Table::new();
    shown.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    shown.set_header(["", "clusters", "rows"]);
    let rows =
        |state| found.clusters.iter().filter(|c| c.state == state).map(|c| c.members.len()).sum::<usize>().to_string();
    let mut row = |name: &str, clusters: String, rows: String| {
        shown.add_row([name.to_owned(), clusters, rows]);
    };
    row("the same", s.auto.to_string(), rows(crate::reconcile::MatchState::Auto));
    row("to review", s.review.to_string(), rows(crate::reconcile::MatchState::Review));
    row("without like", String::new(), (s.rows - s.clustered_rows).to_string());
    row("bad rows", String::new(), table.error_count.to_string());
    row("total", (s.auto + s.review).to_string(), (s.rows + table.error_count).to_string());
    shown
}
