//! From an outcome to staged rows: matches first, then what is left over, then rows that could not be read.
//!
//! It leaves visibility to publishing. The one thing easy to get wrong: the engine counts rows of a table, the store
//! counts lines of the file.
use super::checkpoint::{Found, Kept, Kind, PART_ROWS, Part, Parting, UNMATCHED};
use super::run::{Run, Stop};
use crate::db::jobs::{Counts, JobState};
use crate::db::records::batch_rows;
use crate::db::results::{ResultStatus, RowProblem};
use crate::db::staging::{self, NewLine, NewResult, ResultText, SharedComparison};
use crate::reconcile::{Break, Match, MatchState, Outcome, RuleSet, Said, Side, SignedBy, Table, report};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that is to be stored of an outcome.
pub(super) fn found(run: &Run, rules: &RuleSet, outcome: Outcome, left: &Table, right: &Table) -> Result<Found, Stop> {
    let Outcome { matches, breaks, columns: places, comparing, summary: s, .. } = outcome;
    let (matched_rows, total) = (matches.len(), matches.len() + breaks.len());
    // Values that do not stand in the records as they are stored cannot be taken from there.
    let stands = |table: &Table, name: &str| {
        table.profile.column(name).is_some_and(|column| !matches!(column.signed_by, Some(SignedBy::Columns { .. })))
    };
    let columns: Vec<(String, String)> = comparing.compared.into_iter().map(|c| (c.left, c.right)).collect();
    let all_stand = columns.iter().all(|(l, r)| stands(left, l) && stands(right, r));
    let mut texts = Texts {
        columns: (rules.left.is_empty() && rules.right.is_empty() && all_stand).then_some(columns),
        places,
        said: HashMap::new(),
        ordinals: HashMap::new(),
    };
    let mut results = matches
        .into_iter()
        .map(|found| matched(found, &mut texts, left, right))
        .chain(breaks.iter().map(|lonely| unmatched(lonely, left, right)));
    let mut parting = Parting::default();
    for first in (0..total).step_by(PART_ROWS) {
        run.check()?;
        let rows = results.by_ref().take(PART_ROWS).map(Kept::from).collect();
        parting.add(first as u64, &Part::Results(rows));
    }
    drop(results);
    let texts = texts.in_order();
    for (at, chunk) in texts.chunks(PART_ROWS).enumerate() {
        parting.add((at * PART_ROWS) as u64, &Part::Texts(chunk.to_vec()));
    }
    let mut first = 0;
    for (side, table) in [(Side::Left, left), (Side::Right, right)] {
        for chunk in table.errors.chunks(PART_ROWS) {
            run.check()?;
            let problem = |error: &crate::reconcile::RowError| RowProblem {
                side: side.as_str().to_owned(),
                line: error.line,
                column: error.column.clone(),
                value: error.value.clone(),
                reason: error.reason.clone(),
            };
            parting.add(first, &Part::Problems(chunk.iter().map(problem).collect()));
            first += chunk.len() as u64;
        }
    }
    let counts = Counts {
        left: s.left_rows,
        right: s.right_rows,
        matched: s.auto + s.review,
        discrepancy: s.discrepancy,
        review: s.review,
        unmatched_left: s.unmatched_left,
        unmatched_right: s.unmatched_right,
        errors: left.error_count + right.error_count,
    };
    Ok(parting.found(run.flight.fence, total as u64, matched_rows as u64, counts))
}

/// Stages everything, but for results that an earlier attempt staged.
pub(super) fn all(run: &Run, found: &Found) -> Result<(), Stop> {
    let (store, job, fence, attempt) = (&run.shared.store, run.job.id, run.flight.fence, found.attempt);
    let (total, matches) = (found.head.results, found.head.matches);
    let staged = if attempt == fence { 0 } else { run.store(|| staging::staged_results(store, job, attempt))? };
    if staged > 0 {
        log::info!("results are staged on from where they ended job={job} results={staged} of={total}");
    }
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
    /// The columns of the comparisons; `None` when each result must say its values itself.
    columns: Option<Vec<(String, String)>>,
    /// Their positions in the tables.
    places: Vec<(usize, usize)>,
    /// What was placed already, by address, which is its own as long as it is kept here.
    said: HashMap<*const Said, (Arc<Said>, u64)>,
    ordinals: HashMap<ResultText, u64>,
}

impl Texts {
    /// Where the text of a match stands; gives its comparisons with their values when each result says them itself.
    fn place(&mut self, found: &Match, left: &Table, right: &Table) -> Result<u64, String> {
        let said = &found.said;
        match self.columns.as_ref().filter(|columns| columns.len() == said.fields.len()) {
            None => Err(json(&found.fields(&self.places, left, right))),
            Some(columns) => {
                if let Some((_, ordinal)) = self.said.get(&Arc::as_ptr(said)) {
                    return Ok(*ordinal);
                }
                let without_values = said.fields.iter().zip(columns).map(|(said, (left, right))| SharedComparison {
                    said: said.clone(),
                    left_column: left.clone(),
                    right_column: right.clone(),
                });
                let comparisons = json(&without_values.collect::<Vec<_>>());
                let next = self.ordinals.len() as u64;
                let text = ResultText { comparisons, explanation: said.explanation.clone() };
                let ordinal = *self.ordinals.entry(text).or_insert(next);
                self.said.insert(Arc::as_ptr(said), (said.clone(), ordinal));
                Ok(ordinal)
            }
        }
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
    let (text, comparisons, explanation) = match texts.place(&found, left, right) {
        Ok(text) => (Some(text), String::new(), String::new()),
        Err(comparisons) => (None, comparisons, found.said.explanation.clone()),
    };
    NewResult {
        ordinal: 0,
        status: if found.state == MatchState::Discrepancy { ResultStatus::Discrepancy } else { ResultStatus::Matched },
        match_id,
        kind: found.kind.as_str(),
        related_id: None,
        state: found.state.as_str(),
        probability: Some(found.probability),
        comparisons,
        explanation,
        text,
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
