//! Files of a job: stored as records once per source, and read typed for the match.
//!
//! Records are stored as text by line, whatever the rules make of them: rules decide types, and types decide which rows
//! are bad, but a record stays what it was. The one thing easy to get wrong: a half-stored source has no row count yet
//! and is stored again from the start; the same rows land in the same places.
use super::run::{Run, Stop};
use crate::db::jobs::JobState;
use crate::db::records::{self, NewRecord};
use crate::db::sources::{self, Source};
use crate::protocol::ids::SourceId;
use crate::reconcile::{ColumnType, ReadOptions, RuleSet, Side, Table, profile, read};
use std::fs::File;

/// Makes sure that every row of a source is stored.
pub(crate) fn store_source(run: &Run, id: SourceId) -> Result<(), Stop> {
    let store = &run.shared.store;
    let source = run.store(|| sources::get(store, id))?;
    if source.rows.is_some() {
        return Ok(());
    }
    let table = as_text(run, &source)?;
    let total = table.len() as u64;
    let batch_rows = records::batch_rows(store);
    for first in (0..table.len()).step_by(batch_rows) {
        let rows = first..table.len().min(first + batch_rows);
        run.store(|| {
            let batch = rows.clone().map(|row| record(&table, row)).collect();
            records::insert_batch(store, run.job.id, run.flight.fence, id, batch)
        })?;
        run.meter.report(JobState::Ingesting, "storing", rows.end as u64, total, 0, true);
    }
    let stored = run.store(|| records::mark_ingested(store, id, total, table.error_count))?;
    if let Some(event) = stored.event {
        run.shared.realtime.publish(event);
    }
    Ok(())
}

/// Reads a side with the types that the rules give its columns.
pub(crate) fn typed(run: &Run, rules: &RuleSet, side: Side) -> Result<Table, Stop> {
    let (id, rule_id) = match side {
        Side::Left => (run.job.left_source_id, rules.left_id.clone()),
        Side::Right => (run.job.right_source_id, rules.right_id.clone()),
    };
    let source = run.store(|| sources::get(&run.shared.store, id))?;
    let asked = run.job.options.get(format!("{}_id", side.as_str())).and_then(serde_json::Value::as_str);
    let mut options = options(run, &source);
    options.id_column = asked.map(str::to_owned).or(rule_id);
    options.types = rules.column_types(side);
    load(run, &source, &options)
}

/// Every row whose shape is right, whatever its values.
fn as_text(run: &Run, source: &Source) -> Result<Table, Stop> {
    let mut options = options(run, source);
    let seen = profile(open(run, source)?, &options).map_err(|error| run.read_failed(&error))?;
    options.types = seen.columns.into_iter().map(|column| (column.name, ColumnType::Text)).collect();
    load(run, source, &options)
}

fn load(run: &Run, source: &Source, options: &ReadOptions) -> Result<Table, Stop> {
    let failed = |error| run.read_failed(&error);
    let seen = profile(open(run, source)?, options).map_err(failed)?;
    read(open(run, source)?, Some(&seen), options, &run.meter).map_err(failed)
}

fn options(run: &Run, source: &Source) -> ReadOptions {
    ReadOptions { name: source.filename.clone(), limits: run.shared.limits.read, ..ReadOptions::default() }
}

fn open(run: &Run, source: &Source) -> Result<File, Stop> {
    let path = run.shared.upload(source.id);
    File::open(&path).map_err(|error| {
        log::error!("cannot open an uploaded file path={} error={error}", path.display());
        Stop::Failed(format!("{}: the uploaded file cannot be opened: {error}", source.filename))
    })
}

fn record(table: &Table, row: usize) -> NewRecord {
    let cells: Vec<&str> = (0..table.columns.len()).map(|column| table.cell(row, column)).collect();
    NewRecord {
        ordinal: table.line(row),
        record_key: table.id(row).into_owned(),
        fields: serde_json::to_string(&cells).expect("strings are JSON"),
    }
}
