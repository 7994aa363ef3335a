//! How fast the store takes records and results, next to the bare engine in the same run.
//!
//! `cargo run --release --example ingest [rows]`. The bare engine is SQLite's C interface: one prepared statement, the
//! same table, the same pragmas, batches of the same size in immediate transactions. Every figure is the best of three.
#![allow(unsafe_code, reason = "SQLite's own interface is what it is measured against")]
use libsqlite3_sys as ffi;
use std::ffi::CString;
use std::path::Path;
use std::time::{Duration, Instant};
use tieout::db::jobs::{self, NewJob};
use tieout::db::records::{self, BATCH_ROWS, NewRecord};
use tieout::db::results::ResultStatus;
use tieout::db::staging::{self, NewLine, NewResult};
use tieout::db::{Options, Store, projects, sources};
use tieout::protocol::ids::{JobId, SourceId};
use tieout::reconcile::Side;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
    let batch: usize = std::env::args().nth(2).map_or(Ok(BATCH_ROWS), |text| text.parse())?;
    let mut best = [Duration::MAX; 3];
    for _ in 0..3 {
        let dir = std::env::temp_dir().join(format!("tieout-ingest-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        best[0] = best[0].min(bare(&dir.join("bare.sqlite"), rows, batch)?);
        let (stored, staged) = ours(&dir.join("ours.sqlite"), rows, batch).await?;
        best[1] = best[1].min(stored);
        best[2] = best[2].min(staged);
        std::fs::remove_dir_all(&dir)?;
    }
    let speed = |took: Duration| rows as f64 / took.as_secs_f64();
    println!("rows {rows}, batches of {batch}");
    println!("bare engine, records   {:>9.0} rows/s", speed(best[0]));
    let ratio = best[1].as_secs_f64() / best[0].as_secs_f64();
    println!("store, records         {:>9.0} rows/s  ({ratio:.2}x the time of the bare engine)", speed(best[1]));
    println!("store, staged results  {:>9.0} matches/s (each with two lines)", speed(best[2]));
    Ok(())
}

fn record(row: u64) -> NewRecord {
    NewRecord {
        ordinal: row + 2,
        record_key: format!("L{row}"),
        fields: format!(
            "[\"L{row}\",\"2025-03-{:02}\",\"{}.50\",\"INV-{row:07}\",\"Customer {row}\"]",
            row % 28 + 1,
            row
        ),
    }
}

async fn ours(path: &Path, rows: u64, batch: usize) -> anyhow::Result<(Duration, Duration)> {
    let store = Store::start(Options::sqlite(path))?;
    anyhow::ensure!(store.ready_within(Duration::from_secs(10)).await, "the store did not come up");
    let (job, source) = claimed(&store).await?;
    let all: Vec<NewRecord> = (0..rows).map(record).collect();
    let batches: Vec<Vec<NewRecord>> = all.chunks(batch).map(<[NewRecord]>::to_vec).collect();
    let began = Instant::now();
    for chunk in batches {
        records::insert_batch(&store, job, 1, source, chunk).await?;
    }
    let stored = began.elapsed();
    let found: Vec<NewResult> = (0..rows).map(result).collect();
    let batches: Vec<Vec<NewResult>> = found.chunks(batch).map(<[NewResult]>::to_vec).collect();
    let began = Instant::now();
    for chunk in batches {
        staging::stage(&store, job, 1, chunk).await?;
    }
    let staged = began.elapsed();
    store.stop().await;
    Ok((stored, staged))
}

async fn claimed(store: &Store) -> anyhow::Result<(JobId, SourceId)> {
    let project_id = projects::create(store, "ingest").await?.value.id;
    let new = sources::NewSource {
        id: SourceId::generate(),
        project_id,
        name: "bank".into(),
        filename: "bank.csv".into(),
        format: "csv".into(),
        bytes: 0,
        sha256: "none".into(),
        columns: serde_json::json!({}),
    };
    let source = sources::create(store, new).await?.value.source.id;
    let empty = serde_json::json!({});
    let new = NewJob { project_id, left: source, right: source, rules: empty.clone(), options: empty };
    let job = jobs::create(store, new).await?.value.id;
    jobs::enqueue(store, job).await?;
    jobs::claim_next(store, "ingest", Duration::from_secs(600)).await?;
    Ok((job, source))
}

fn result(row: u64) -> NewResult {
    let line = |side| NewLine { side, record_ordinal: row + 2, allocated_minor: Some(150) };
    NewResult {
        ordinal: row,
        status: ResultStatus::Matched,
        match_id: Some(format!("m{row:016x}")),
        kind: "one_to_one",
        related_id: None,
        state: "auto",
        probability: Some(0.987),
        comparisons: "[{\"label\":\"amount\",\"left\":\"1.50\",\"right\":\"1.50\",\"level\":\"equal\",\"weight\":9.1}]"
            .into(),
        explanation: "amount equal, date one day later, reference equal".into(),
        text: None,
        lines: vec![line(Side::Left), line(Side::Right)],
    }
}

/// The same rows through the C interface.
fn bare(path: &Path, rows: u64, batch: usize) -> anyhow::Result<Duration> {
    let all: Vec<NewRecord> = (0..rows).map(record).collect();
    let source = SourceId::generate().to_string();
    let connection = Bare::open(path)?;
    connection.run(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16000; \
         PRAGMA journal_size_limit = 67108864; CREATE TABLE records (source_id TEXT NOT NULL, ordinal BIGINT NOT NULL, \
         record_key TEXT NOT NULL, fields TEXT NOT NULL, PRIMARY KEY (source_id, ordinal)) WITHOUT ROWID;",
    )?;
    let began = Instant::now();
    let sql = CString::new("REPLACE INTO records VALUES (?, ?, ?, ?)")?;
    let mut statement = std::ptr::null_mut();
    // SAFETY: the connection is open, the text ends in NUL, and `statement` outlives the call.
    let code =
        unsafe { ffi::sqlite3_prepare_v2(connection.0, sql.as_ptr(), -1, &raw mut statement, std::ptr::null_mut()) };
    anyhow::ensure!(code == ffi::SQLITE_OK, "prepare: {code}");
    for chunk in all.chunks(batch) {
        connection.run("BEGIN IMMEDIATE")?;
        for row in chunk {
            for (at, text) in [(1, &source), (3, &row.record_key), (4, &row.fields)] {
                // SAFETY: SQLite copies the text (TRANSIENT) before the call returns.
                let code = unsafe {
                    let bytes = text.as_ptr().cast();
                    ffi::sqlite3_bind_text(statement, at, bytes, text.len() as i32, ffi::SQLITE_TRANSIENT())
                };
                anyhow::ensure!(code == ffi::SQLITE_OK, "bind: {code}");
            }
            // SAFETY: the statement is prepared and used by this thread alone.
            let code = unsafe {
                ffi::sqlite3_bind_int64(statement, 2, row.ordinal as i64);
                ffi::sqlite3_step(statement)
            };
            anyhow::ensure!(code == ffi::SQLITE_DONE, "step: {code}");
            // SAFETY: as above.
            unsafe { ffi::sqlite3_reset(statement) };
        }
        connection.run("COMMIT")?;
    }
    // SAFETY: the last use of the statement.
    unsafe { ffi::sqlite3_finalize(statement) };
    Ok(began.elapsed())
}

struct Bare(*mut ffi::sqlite3);

impl Bare {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let name = CString::new(path.to_str().expect("a temporary path is text"))?;
        let mut connection = std::ptr::null_mut();
        // SAFETY: the name ends in NUL and `connection` outlives the call.
        let code = unsafe { ffi::sqlite3_open(name.as_ptr(), &raw mut connection) };
        anyhow::ensure!(code == ffi::SQLITE_OK, "open: {code}");
        Ok(Self(connection))
    }

    fn run(&self, sql: &str) -> anyhow::Result<()> {
        let text = CString::new(sql)?;
        // SAFETY: the connection is open and the text ends in NUL; no callback is given.
        let code =
            unsafe { ffi::sqlite3_exec(self.0, text.as_ptr(), None, std::ptr::null_mut(), std::ptr::null_mut()) };
        anyhow::ensure!(code == ffi::SQLITE_OK, "{sql}: {code}");
        Ok(())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // SAFETY: opened by `open`, closed once.
        unsafe { ffi::sqlite3_close(self.0) };
    }
}
