//! Files of a job: read typed for the match, once, and stored as records once per source.
//!
//! Records are stored as text by line, whatever the rules make of them: rules decide types, and types decide which rows
//! are bad, but a record stays what it was. A file is hashed as it is read, and used only when it is still what was uploaded.
//! The one thing easy to get wrong: a half-stored source has no row count yet
//! and is stored on from the last line that is there, which may be in the middle of what would be a batch.
use super::checkpoint::MADE_BY;
use super::run::{Run, Stop};
use crate::db::jobs::JobState;
use crate::db::records::{self, NewRecord};
use crate::db::sources::{self, MADE_BY_KEY, Source};
use crate::protocol::ids::SourceId;
use crate::reconcile::{
    Column, ColumnType, Profile, ReadError, ReadOptions, RuleSet, Side, SignedBy, Table, profile, read,
};
use crate::uploads::{Digest, Hashing};
use std::fs::File;
use std::io::ErrorKind;

/// Reads a side with the types that the rules give its columns, and makes sure that every row of its source is stored.
pub(crate) fn side(run: &Run, rules: &RuleSet, side: Side) -> Result<Table, Stop> {
    let (source, options) = named(run, rules, side)?;
    if source.rows.is_some() {
        return typed(run, &source, &options);
    }
    if options.reading.is_empty() {
        let table = typed(run, &source, &options)?;
        if table.error_count == 0 {
            store_rows(run, source.id, &table)?;
            return Ok(table);
        }
    }
    // With rows left out, or read as the rules want, the table is not the file. One of the two is held at a time: to read a file
    // once more is better than to hold it twice.
    store_rows(run, source.id, &as_text(run, &source)?)?;
    typed(run, &source, &options)
}

/// The same, and stores nothing.
pub(super) fn table(run: &Run, rules: &RuleSet, side: Side) -> Result<Table, Stop> {
    let (source, options) = named(run, rules, side)?;
    typed(run, &source, &options)
}

/// The source of a side, and how the rules read it.
fn named(run: &Run, rules: &RuleSet, side: Side) -> Result<(Source, ReadOptions), Stop> {
    let id = match side {
        Side::Left => run.job.left_source_id,
        Side::Right => run.job.right_source_id,
    };
    let source = run.store(|| sources::get(&run.shared.store, id))?;
    let asked = run.job.options.get(format!("{}_id", side.as_str())).and_then(serde_json::Value::as_str);
    let mut options = options(run, &source);
    options.id_column = asked.map(str::to_owned);
    rules.reading(side, &mut options);
    Ok((source, options))
}

fn typed(run: &Run, source: &Source, options: &ReadOptions) -> Result<Table, Stop> {
    load(run, source, at_upload(source, options).as_ref(), options)
}

/// The profile that was made at upload, when this version made it and the rules see the columns as it does.
fn at_upload(source: &Source, options: &ReadOptions) -> Option<Profile> {
    let stored = &source.columns;
    if stored.get(MADE_BY_KEY).and_then(serde_json::Value::as_str) != Some(MADE_BY) || !options.reading.is_empty() {
        return None;
    }
    let profile: Profile = serde_json::from_value(stored.clone()).ok()?;
    let same = |(name, kind): (&String, &ColumnType)| profile.column(name).is_some_and(|column| column.kind == *kind);
    options.types.iter().all(same).then_some(profile)
}

fn store_rows(run: &Run, id: SourceId, table: &Table) -> Result<(), Stop> {
    let store = &run.shared.store;
    let key = table.profile.id_column().and_then(|name| table.column_index(name));
    let total = table.len() as u64;
    let batch_rows = records::batch_rows(store);
    // What an earlier attempt, or another job of the source, stored: a prefix, in the order of the lines.
    let stored = run.store(|| records::stored_through(store, id))?;
    let begin = stored.map_or(0, |last| rows_through(table.len(), |row| table.line(row), last));
    if begin > 0 {
        log::info!("a source is stored on from where it ended source={id} rows={begin} of={total}");
    }
    for first in (begin..table.len()).step_by(batch_rows) {
        let rows = first..table.len().min(first + batch_rows);
        run.store(|| {
            let batch = rows.clone().map(|row| record(table, key, row)).collect();
            records::insert_batch(store, run.job.id, run.flight.fence, id, batch)
        })?;
        run.meter.report(JobState::Ingesting, "storing", rows.end as u64, total, 0, true);
    }
    let (job, fence) = (run.job.id, run.flight.fence);
    run.commit(|| records::mark_ingested(store, job, fence, id, total, table.error_count))
}

/// How many of the first rows lie on lines up to this one; lines grow with the rows.
fn rows_through(rows: usize, line: impl Fn(usize) -> u64, last: u64) -> usize {
    let (mut low, mut high) = (0, rows);
    while low < high {
        let middle = low.midpoint(high);
        if line(middle) <= last { low = middle + 1 } else { high = middle }
    }
    low
}

/// Every row whose shape is right, whatever its values.
fn as_text(run: &Run, source: &Source) -> Result<Table, Stop> {
    let mut options = options(run, source);
    let seen = profile(open(run, source)?, &options).map_err(|error| unreadable(run, source, &error))?;
    options.types = seen.columns.into_iter().map(|column| (column.name, ColumnType::Text)).collect();
    load(run, source, None, &options)
}

/// Reads a file to its end, and takes it only when it is the one that was uploaded, byte for byte.
fn load(run: &Run, source: &Source, profile: Option<&Profile>, options: &ReadOptions) -> Result<Table, Stop> {
    let failed = |error| unreadable(run, source, &error);
    let mut hashing = Hashing::new(open(run, source)?);
    let table = read(&mut hashing, profile, options, &run.meter).map_err(failed)?;
    let digest = hashing.finish().map_err(|error| Stop::Failed(format!("{}: {error}", source.filename)))?;
    if is_as_uploaded(source, &digest) { Ok(table) } else { Err(changed(source, &digest)) }
}

/// What a reader made of a file that it could not read: it may be another one than was uploaded, and then that is the reason.
fn unreadable(run: &Run, source: &Source, error: &ReadError) -> Stop {
    let digest = match error {
        ReadError::Cancelled => None,
        _ => open(run, source).ok().and_then(|file| Hashing::new(file).finish().ok()),
    };
    match digest {
        Some(digest) if !is_as_uploaded(source, &digest) => changed(source, &digest),
        _ => run.read_failed(error),
    }
}

fn is_as_uploaded(source: &Source, digest: &Digest) -> bool {
    digest.bytes == source.bytes && digest.sha256 == source.sha256
}

fn changed(source: &Source, digest: &Digest) -> Stop {
    let (name, id) = (&source.filename, source.id);
    log::error!(
        "a file is no longer the file that was uploaded source={id} bytes={} then={} sha256={} then={}",
        digest.bytes,
        source.bytes,
        digest.sha256,
        source.sha256
    );
    Stop::Failed(format!(
        "{name}: the stored file is no longer the file that was uploaded; upload it again and start the job anew"
    ))
}

fn options(run: &Run, source: &Source) -> ReadOptions {
    ReadOptions {
        name: source.filename.clone(),
        limits: run.shared.limits.read,
        size: Some(source.bytes),
        ..ReadOptions::default()
    }
}

/// Opens the uploaded file. That it cannot be may pass, or be so on this machine alone; a file that is missing is so for good
/// only where nobody else can have it.
fn open(run: &Run, source: &Source) -> Result<File, Stop> {
    let uploads = &run.shared.uploads;
    uploads.open(source.id).map_err(|error| {
        log::error!("cannot open an uploaded file path={} error={error}", uploads.file(source.id).display());
        if error.kind() == ErrorKind::InvalidInput {
            return Stop::Failed(format!(
                "{}: what is stored is no longer the file that was uploaded: {error}",
                source.filename
            ));
        }
        let what = format!("{}: the uploaded file cannot be opened: {error}", source.filename);
        match (run.shared.store.exclusive(), error.kind()) {
            (true, ErrorKind::NotFound) => Stop::Failed(what),
            (true, _) => Stop::NotHere(what),
            (false, _) => Stop::NotHere(format!("{what}; replicas must share the data directory's folder `uploads`")),
        }
    })
}

fn record(table: &Table, key: Option<usize>, row: usize) -> NewRecord {
    // Columns that are not in the file stand behind the others.
    let in_file = |column: &&Column| !matches!(column.profile.signed_by, Some(SignedBy::Columns { .. }));
    let width = table.columns.iter().filter(in_file).count();
    let cells: Vec<&str> = (0..width).map(|column| table.cell(row, column)).collect();
    NewRecord {
        ordinal: table.line(row),
        record_key: key.map_or_else(|| format!("line {}", table.line(row)), |key| table.cell(row, key).to_owned()),
        fields: serde_json::to_string(&cells).expect("strings are JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_profile_is_used_by_the_version_that_made_it_and_when_the_rules_see_the_same_columns() {
        let seen = profile(&b"id,amount\na1,1.50\na2,2.50\n"[..], &ReadOptions::default()).unwrap();
        let source = |made_by: Option<&str>| {
            let mut columns = serde_json::to_value(&seen).unwrap();
            columns[MADE_BY_KEY] = made_by.into();
            Source {
                id: SourceId::generate(),
                project_id: crate::protocol::ids::ProjectId::generate(),
                name: "a".into(),
                filename: "a.csv".into(),
                format: "csv".into(),
                bytes: 1,
                sha256: String::new(),
                rows: None,
                errors: None,
                columns,
                state: "ready",
                created_at_ms: 0,
            }
        };
        let typed = |kind| ReadOptions { types: [("amount".to_owned(), kind)].into(), ..ReadOptions::default() };
        let own = source(Some(MADE_BY));
        assert_eq!(at_upload(&own, &ReadOptions::default()), Some(seen.clone()));
        assert_eq!(at_upload(&own, &typed(seen.columns[1].kind)), Some(seen.clone()));
        assert_eq!(at_upload(&own, &typed(ColumnType::Text)), None);
        assert_eq!(at_upload(&source(Some("0.0.1 an older one")), &ReadOptions::default()), None);
        assert_eq!(at_upload(&source(None), &ReadOptions::default()), None);
    }

    #[test]
    fn a_source_goes_on_behind_the_last_stored_line_also_where_lines_were_skipped() {
        let lines = [2, 3, 5, 9];
        let through = |last| rows_through(lines.len(), |row| lines[row], last);
        assert_eq!([0, 1, 2, 3, 4, 5, 8, 9, 10].map(through), [0, 0, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(rows_through(0, |_| unreachable!("no row"), 7), 0);
    }
}
