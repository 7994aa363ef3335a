//! From an outcome to staged rows: matches first, then what is left over, then rows that could not be read.
//!
//! It leaves visibility to publishing. The one thing easy to get wrong: the engine counts rows of a table, the store
//! counts lines of the file.
use super::run::{Run, Stop};
use crate::db::jobs::{Counts, JobState};
use crate::db::records::batch_rows;
use crate::db::results::{ResultStatus, RowProblem};
use crate::db::staging::{self, NewLine, NewResult};
use crate::reconcile::{Break, BreakKind, Match, MatchState, Outcome, Side, Table, report};

/// Stages everything and returns the counts.
pub(crate) fn all(run: &Run, outcome: &Outcome, left: &Table, right: &Table) -> Result<Counts, Stop> {
    let matches = outcome.matches.len();
    let total = matches + outcome.breaks.len();
    run.meter.report(JobState::Publishing, "publishing", 0, total as u64, matches as u64, false);
    let rows = batch_rows(&run.shared.store);
    for first in (0..total).step_by(rows) {
        let ordinals = first..total.min(first + rows);
        let end = ordinals.end as u64;
        run.store(|| {
            let batch = ordinals.clone().map(|ordinal| match outcome.matches.get(ordinal) {
                Some(found) => matched(ordinal, found, left, right),
                None => unmatched(ordinal, &outcome.breaks[ordinal - matches], left, right),
            });
            staging::stage(&run.shared.store, run.job.id, run.flight.fence, batch.collect())
        })?;
        run.meter.report(JobState::Publishing, "publishing", end, total as u64, matches as u64, false);
    }
    problems(run, left, right)?;
    let s = &outcome.summary;
    Ok(Counts {
        left: s.left_rows,
        right: s.right_rows,
        matched: s.auto + s.review,
        discrepancy: s.discrepancy,
        review: s.review,
        unmatched_left: s.unmatched_left,
        unmatched_right: s.unmatched_right,
        errors: left.error_count + right.error_count,
    })
}

fn problems(run: &Run, left: &Table, right: &Table) -> Result<(), Stop> {
    let mut first = 0;
    for (side, table) in [(Side::Left, left), (Side::Right, right)] {
        for chunk in table.errors.chunks(batch_rows(&run.shared.store)) {
            run.store(|| {
                let batch = chunk.iter().map(|error| RowProblem {
                    side: side.as_str().to_owned(),
                    line: error.line,
                    column: error.column.clone(),
                    value: error.value.clone(),
                    reason: error.reason.clone(),
                });
                let (store, job) = (&run.shared.store, run.job.id);
                staging::stage_row_errors(store, job, run.flight.fence, first, batch.collect())
            })?;
            first += chunk.len() as u64;
        }
    }
    Ok(())
}

fn matched(ordinal: usize, found: &Match, left: &Table, right: &Table) -> NewResult {
    let lines = found.lines.iter().map(|line| NewLine {
        side: line.side,
        record_ordinal: of(line.side, left, right).line(line.row as usize),
        allocated_minor: line.allocated_minor,
    });
    let disagrees = found.state == MatchState::Discrepancy;
    NewResult {
        ordinal: ordinal as u64,
        status: if disagrees { ResultStatus::Discrepancy } else { ResultStatus::Matched },
        match_id: Some(report::match_id(found, left, right)),
        kind: found.kind.as_str(),
        related_id: None,
        state: found.state.as_str(),
        probability: Some(found.probability),
        comparisons: serde_json::to_string(&found.fields).expect("comparisons are plain data"),
        explanation: found.explanation.clone(),
        lines: lines.collect(),
    }
}

fn unmatched(ordinal: usize, lonely: &Break, left: &Table, right: &Table) -> NewResult {
    let line = of(lonely.side, left, right).line(lonely.row as usize);
    NewResult {
        ordinal: ordinal as u64,
        status: if lonely.side == Side::Left { ResultStatus::UnmatchedLeft } else { ResultStatus::UnmatchedRight },
        match_id: None,
        kind: lonely.kind.as_str(),
        related_id: report::related_id(lonely, left, right),
        state: "unmatched",
        probability: None,
        comparisons: "[]".into(),
        explanation: why(lonely, left, right),
        lines: vec![NewLine { side: lonely.side, record_ordinal: line, allocated_minor: None }],
    }
}

fn why(lonely: &Break, left: &Table, right: &Table) -> String {
    let other = if lonely.side == Side::Left { Side::Right } else { Side::Left };
    let related = |side: Side| {
        lonely.related.map_or_else(String::new, |row| format!(" {}", of(side, left, right).id(row as usize)))
    };
    match lonely.kind {
        BreakKind::Missing => format!("nothing on the {} side is like it", other.as_str()),
        BreakKind::Duplicate => format!("repeats{} of its own side", related(lonely.side)),
        BreakKind::Outbid => format!("its best candidate{} is a better match for another record", related(other)),
        BreakKind::Contra => format!("undone by{} of its own side", related(lonely.side)),
        BreakKind::Unlike => format!("its best candidate{} is too unlike", related(other)),
    }
}

fn of<'a>(side: Side, left: &'a Table, right: &'a Table) -> &'a Table {
    if side == Side::Left { left } else { right }
}
