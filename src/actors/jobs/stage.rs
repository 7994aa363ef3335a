//! From an outcome to staged rows: matches first, then what is left over, then rows that could not be read.
//!
//! It leaves visibility to publishing. Two things are easy to get wrong: the engine counts rows of a table, the store counts lines
//! of the file; and a table may have other columns than the records that are stored of its file.
use super::checkpoint::{Found, Kind, Part, Parting, UNMATCHED};
use super::run::{Run, Stop};
use crate::db::jobs::{Counts, JobState};
use crate::db::records::batch_rows;
use crate::db::results::{ResultStatus, RowProblem};
use crate::db::sources::{self, Source};
use crate::db::staging::{self, NewLine, NewResult, ResultText, SharedComparison};
use crate::reconcile::{Break, Match, MatchState, Outcome, RowError, RuleSet, Said, Side, SignedBy, Table, report};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that is to be stored of an outcome; with many results it is stored as a checkpoint meanwhile.
pub(super) fn found(run: &Run, rules: &RuleSet, outcome: Outcome, left: &Table, right: &Table) -> Result<Found, Stop> {
    let Outcome { matches, breaks, columns: places, comparing, summary: s, .. } = outcome;
    let (matched_rows, total) = (matches.len(), matches.len() + breaks.len());
    let as_stored = |reads_as_it_is: bool, table: &Table, id| -> Result<bool, Stop> {
        Ok(reads_as_it_is && is_as_stored(table, &run.store(|| sources::get(&run.shared.store, id))?))
    };
    let left_stands = as_stored(rules.left.is_empty(), left, run.job.left_source_id)?;
    let right_stands = as_stored(rules.right.is_empty(), right, run.job.right_source_id)?;
    let columns = comparing.compared.into_iter().map(|compared| {
        let left = Some(compared.left).filter(|name| left_stands && is_in_file(left, name));
        (left, Some(compared.right).filter(|name| right_stands && is_in_file(right, name)))
    });
    let mut texts = Texts { columns: columns.collect(), places, said: HashMap::new(), ordinals: HashMap::new() };
    let results = matches
        .into_iter()
        .map(|found| matched(found, &mut texts, left, right))
        .chain(breaks.iter().map(|lonely| unmatched(lonely, left, right)));
    let mut parting = Parting::new(run, total as u64, matched_rows as u64);
    parting.results(results)?;
    parting.texts(texts.in_order().into_iter())?;
    let sides = [(Side::Left, left), (Side::Right, right)].into_iter();
    parting.problems(sides.flat_map(|(side, table)| table.errors.iter().map(move |error| problem(side, error))))?;
    let counts = Counts {
        left: s.left_rows,
        right: s.right_rows,
        matched: s.auto + s.review,
        discrepancy: s.discrepancy,
        review: s.review,
        unmatched_left: s.unmatched_left,
        unmatched_right: s.unmatched_right,
        errors: [left, right].iter().map(|table| table.error_count + table.missing_count()).sum(),
    };
    parting.found(counts)
}

/// Whether the records of this file, as they are stored, have the cells of its table in columns of the same names: the names are of
/// the version that the file was uploaded to, and that one may have understood its header differently.
fn is_as_stored(table: &Table, source: &Source) -> bool {
    let names = table.columns.iter().map(|column| column.profile.name.as_str());
    names.filter(|name| is_in_file(table, name)).eq(source.stored_columns())
}

/// Whether the column has cells of its own, and is not worked out of others.
fn is_in_file(table: &Table, name: &str) -> bool {
    table.profile.column(name).is_some_and(|column| !matches!(column.signed_by, Some(SignedBy::Columns { .. })))
}

fn problem(side: Side, error: &RowError) -> RowProblem {
    RowProblem {
        side: side.as_str().to_owned(),
        line: error.line,
        column: error.column.clone(),
        value: error.value.clone(),
        reason: error.reason.clone(),
    }
}

/// Stages everything, but for results that an earlier attempt staged; answers with the attempt that it is all staged under.
pub(super) fn all(run: &Run, found: &Found) -> Result<i64, Stop> {
    let (store, job, fence) = (&run.shared.store, run.job.id, run.flight.fence);
    if found.attempt != fence {
        let there = run.store(|| staging::staged_results(store, job, found.attempt))?;
        if there > 0 {
            log::info!(
                "results are staged on from where they ended job={job} results={there} of={}",
                found.head.results
            );
        }
        under(run, found, found.attempt, there)?;
        // What lay there for a while may have been taken for rubbish meanwhile, by a process that knows no checkpoints.
        let staged = run.store(|| staging::staged(store, job, found.attempt))?;
        if staged == found.head.staged() {
            return Ok(found.attempt);
        }
        log::warn!("what an earlier attempt staged is not whole and is staged anew job={job} found={staged:?}");
    }
    under(run, found, fence, 0)?;
    Ok(fence)
}

/// Stages everything under an attempt, but for so many results that are there.
fn under(run: &Run, found: &Found, attempt: i64, staged: u64) -> Result<(), Stop> {
    let (store, job, fence) = (&run.shared.store, run.job.id, run.flight.fence);
    let (total, matches) = (found.head.results, found.head.matches);
    run.meter.report(JobState::Publishing, "publishing", staged, total, matches, false);
    for (at, held) in found.head.parts.iter().enumerate() {
        if held.kind == Kind::Results && held.first + held.rows <= staged {
            continue;
        }
        match found.part(run, at)? {
            Part::Results(rows) => {
                let new = (held.first..).zip(rows).map(|(ordinal, kept)| kept.at(ordinal));
                let new: Vec<NewResult> = new.filter(|new| new.ordinal >= staged).collect();
                for batch in new.chunks(batch_rows(store)) {
                    run.store(|| staging::stage_under(store, job, fence, attempt, batch.to_vec()))?;
                    let done = batch.last().map_or(0, |last| last.ordinal + 1);
                    run.meter.report(JobState::Publishing, "publishing", done, total, matches, false);
                }
            }
            Part::Texts(texts) => {
                for (first, batch) in (held.first..).step_by(batch_rows(store)).zip(texts.chunks(batch_rows(store))) {
                    run.store(|| staging::stage_texts(store, job, fence, attempt, first, batch.to_vec()))?;
                }
            }
            Part::Problems(rows) => {
                for (first, batch) in (held.first..).step_by(batch_rows(store)).zip(rows.chunks(batch_rows(store))) {
                    run.store(|| staging::stage_row_errors(store, job, fence, attempt, first, batch.to_vec()))?;
                }
            }
        }
    }
    Ok(())
}

/// What results say, each text once.
struct Texts {
    /// The columns of each comparison whose values stand in the records; `None` where each result must keep its value itself.
    columns: Vec<(Option<String>, Option<String>)>,
    /// Their positions in the tables.
    places: Vec<(usize, usize)>,
    /// What was placed already, by address, which is its own as long as it is kept here.
    said: HashMap<*const Said, (Arc<Said>, u64)>,
    ordinals: HashMap<ResultText, u64>,
}

impl Texts {
    /// Where the text of a match stands, and the values of its comparisons that do not stand in the records.
    fn place(&mut self, found: &Match, left: &Table, right: &Table) -> (u64, String) {
        let said = &found.said;
        let columns = |at: usize| self.columns.get(at).cloned().unwrap_or_default();
        let mut kept = Vec::new();
        let stands = |at: usize| matches!(self.columns.get(at), Some((Some(_), Some(_))));
        if !(0..said.fields.len()).all(stands) {
            for (at, field) in found.fields(&self.places, left, right).into_iter().enumerate() {
                let (left_column, right_column) = columns(at);
                let both = [(left_column, field.left), (right_column, field.right)];
                kept.extend(both.into_iter().filter(|(column, _)| column.is_none()).map(|(_, value)| value));
            }
        }
        let kept = if kept.is_empty() { String::new() } else { json(&kept) };
        if let Some((_, ordinal)) = self.said.get(&Arc::as_ptr(said)) {
            return (*ordinal, kept);
        }
        let shared = said.fields.iter().enumerate().map(|(at, said)| {
            let (left_column, right_column) = columns(at);
            SharedComparison { said: said.clone(), left_column, right_column }
        });
        let comparisons = json(&shared.collect::<Vec<_>>());
        let next = self.ordinals.len() as u64;
        let text = ResultText { comparisons, explanation: said.explanation.clone() };
        let ordinal = *self.ordinals.entry(text).or_insert(next);
        self.said.insert(Arc::as_ptr(said), (said.clone(), ordinal));
        (ordinal, kept)
    }

    fn in_order(self) -> Vec<ResultText> {
        let mut all: Vec<(u64, ResultText)> =
            self.ordinals.into_iter().map(|(text, ordinal)| (ordinal, text)).collect();
        all.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        all.into_iter().map(|(_, text)| text).collect()
    }
}

fn json(data: &impl serde::Serialize) -> String {
    serde_json::to_string(data).expect("comparisons are plain data")
}

fn matched(found: Match, texts: &mut Texts, left: &Table, right: &Table) -> NewResult {
    let lines = found.lines.iter().map(|line| NewLine {
        side: line.side,
        record_ordinal: of(line.side, left, right).line(line.row as usize),
        allocated_minor: line.allocated_minor,
    });
    let lines = lines.collect();
    let match_id = Some(report::match_id(&found, left, right));
    let (text, comparisons) = texts.place(&found, left, right);
    NewResult {
        ordinal: 0,
        status: if found.state == MatchState::Discrepancy { ResultStatus::Discrepancy } else { ResultStatus::Matched },
        match_id,
        kind: found.kind.as_str(),
        related_id: None,
        state: found.state.as_str(),
        probability: Some(found.probability),
        comparisons,
        explanation: String::new(),
        text: Some(text),
        lines,
    }
}

fn unmatched(lonely: &Break, left: &Table, right: &Table) -> NewResult {
    let line = of(lonely.side, left, right).line(lonely.row as usize);
    NewResult {
        ordinal: 0,
        status: if lonely.side == Side::Left { ResultStatus::UnmatchedLeft } else { ResultStatus::UnmatchedRight },
        match_id: None,
        kind: lonely.kind.as_str(),
        related_id: report::related_id(lonely, left, right),
        state: UNMATCHED,
        probability: None,
        comparisons: "[]".into(),
        // What its kind says; see `results`.
        explanation: String::new(),
        text: None,
        lines: vec![NewLine { side: lonely.side, record_ordinal: line, allocated_minor: None }],
    }
}

fn of<'a>(side: Side, left: &'a Table, right: &'a Table) -> &'a Table {
    if side == Side::Left { left } else { right }
}
