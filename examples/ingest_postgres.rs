//! How fast the store takes records into PostgreSQL, next to `psql`'s COPY of the same rows in the same run.
//!
//! `cargo run --release --example ingest_postgres -- postgres://user@host/db [rows]`, on a database of its own: two tables
//! are made and dropped, and a project is left. `psql` reads the rows from a CSV file in one COPY into a table with the same
//! key. Every figure is the best of three.
use anyhow::Context;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tieout::db::jobs::{self, NewJob};
use tieout::db::records::{self, NewRecord, batch_rows};
use tieout::db::{Options, Store, projects, sources};
use tieout::protocol::ids::{JobId, SourceId};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("give the address of a database: postgres://user@host/db")?;
    let rows: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let store = Store::start(Options::postgres(url.parse()?))?;
    anyhow::ensure!(store.ready_within(Duration::from_secs(10)).await, "the store did not come up");
    let file = std::env::temp_dir().join(format!("tieout-ingest-{}.csv", std::process::id()));
    let all: Vec<NewRecord> = (0..rows).map(record).collect();
    std::fs::write(&file, csv(SourceId::generate(), &all))?;
    let mut best = [Duration::MAX; 2];
    for round in 0..3 {
        best[0] = best[0].min(copy(&url, &file)?);
        best[1] = best[1].min(ours(&store, &all, round).await?);
    }
    std::fs::remove_file(&file)?;
    let batch = batch_rows(&store);
    store.stop().await;
    let speed = |took: Duration| rows as f64 / took.as_secs_f64();
    let ratio = best[1].as_secs_f64() / best[0].as_secs_f64();
    println!("rows {rows}, batches of {batch}");
    println!("COPY by psql    {:>9.0} rows/s", speed(best[0]));
    println!("store, records  {:>9.0} rows/s  ({ratio:.2}x the time of COPY)", speed(best[1]));
    Ok(())
}

fn record(row: u64) -> NewRecord {
    let day = row % 28 + 1;
    NewRecord {
        ordinal: row + 2,
        record_key: format!("L{row}"),
        fields: format!("[\"L{row}\",\"2025-03-{day:02}\",\"{row}.50\",\"INV-{row:07}\",\"Customer {row}\"]"),
    }
}

fn csv(source: SourceId, rows: &[NewRecord]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let quoted = row.fields.replace('"', "\"\"");
        writeln!(text, "{source},{},{},\"{quoted}\"", row.ordinal, row.record_key).expect("a string takes all");
        text
    })
}

/// One COPY of the whole file by `psql`, its start included: some milliseconds.
fn copy(url: &str, file: &Path) -> anyhow::Result<Duration> {
    let run = |sql: &str| -> anyhow::Result<Duration> {
        let began = Instant::now();
        let output = Command::new("psql").args(["-v", "ON_ERROR_STOP=1", "-qc", sql, url]).output()?;
        anyhow::ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(began.elapsed())
    };
    run("DROP TABLE IF EXISTS bare; CREATE TABLE bare (source_id UUID NOT NULL, ordinal BIGINT NOT NULL, \
         record_key TEXT NOT NULL, fields TEXT NOT NULL, PRIMARY KEY (source_id, ordinal))")?;
    let took = run(&format!("\\copy bare FROM '{}' (FORMAT csv)", file.display()))?;
    run("DROP TABLE bare")?;
    Ok(took)
}

async fn ours(store: &Store, all: &[NewRecord], round: u32) -> anyhow::Result<Duration> {
    let (job, source) = claimed(store, round).await?;
    let batches: Vec<Vec<NewRecord>> = all.chunks(batch_rows(store)).map(<[NewRecord]>::to_vec).collect();
    let began = Instant::now();
    for batch in batches {
        records::insert_batch(store, job, 1, source, batch).await?;
    }
    records::mark_ingested(store, job, 1, source, all.len() as u64, 0).await?;
    Ok(began.elapsed())
}

async fn claimed(store: &Store, round: u32) -> anyhow::Result<(JobId, SourceId)> {
    let project_id = projects::create(store, "ingest").await?.value.id;
    let new = sources::NewSource {
        id: SourceId::generate(),
        project_id,
        name: "bank".into(),
        filename: "bank.csv".into(),
        format: "csv".into(),
        bytes: 0,
        sha256: format!("none {round}"),
        columns: serde_json::json!({}),
    };
    let source = sources::create(store, new).await?.value.source.id;
    let empty = serde_json::json!({});
    let new = NewJob { project_id, left: source, right: source, rules: empty.clone(), options: empty };
    let job = jobs::create(store, new).await?.value.id;
    jobs::enqueue(store, job).await?;
    let lease = Duration::from_secs(600);
    while let Some(claimed) = jobs::claim_next(store, "ingest", lease).await? {
        if claimed.value.id == job {
            return Ok((job, source));
        }
    }
    anyhow::bail!("another process took the job")
}
