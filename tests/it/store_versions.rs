//! A database of any older version, with data in it, is brought up to date by a start and loses nothing.
//! Leaves newer ones to the lifecycle tests. Easy to get wrong: a migration that works on an empty table alone.
use crate::store_support::{command, database, wait_status};
use crate::support::database_url;
use crate::support::postgres::connect;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use std::time::Duration;
use tieout::db::events::Recovery;
use tieout::db::results::ResultStatus;
use tieout::db::{Migrations, Options, Place, Status, Store, claims, events, jobs, projects, results, sources};
use tieout::protocol::ids::{JobId, ProjectId, SourceId};

const PROJECT: &str = "0190a000-0000-7000-8000-000000000001";
const SOURCE: &str = "0190a000-0000-7000-8000-000000000002";
const JOB: &str = "0190a000-0000-7000-8000-000000000003";
/// In the year 2100.
const LATER_US: i64 = 4_102_444_800_000_000;

/// What a version's binary would have written, by the name of the migration that made its tables; of the last of them
/// only the newest form is run.
fn rows(version: &str) -> Vec<String> {
    let claim = if version < "2026-11-24-000004" {
        format!(
            "INSERT INTO claims (project_id, entity_id, user_id, token, expires_us) VALUES ('{PROJECT}', 'm1', 'ana', 7, {LATER_US})"
        )
    } else {
        format!(
            "INSERT INTO claims (project_id, entity_id, user_id, holder, token, expires_us) VALUES ('{PROJECT}', 'm1', 'ana', 'p1:1', 7, {LATER_US})"
        )
    };
    let mut rows = vec![
        format!(
            "INSERT INTO projects (id, name, epoch, head_offset, created_us) VALUES ('{PROJECT}', 'books', 'k3f9ab', 1, 5)"
        ),
        format!("INSERT INTO events (project_id, off, at_us, body) VALUES ('{PROJECT}', 1, 6, '\"DataUpdate\":{{}}')"),
        format!(
            "INSERT INTO sources (id, project_id, name, filename, format, bytes, sha256, profile, record_count, error_count, created_us) \
             VALUES ('{SOURCE}', '{PROJECT}', 'bank', 'bank.csv', 'csv', 9, 'aa', '{{\"columns\":[{{\"name\":\"id\"}}]}}', 1, 0, 5)"
        ),
        format!(
            "INSERT INTO records (source_id, ordinal, record_key, fields) VALUES ('{SOURCE}', 2, 'L1', '[\"L1\"]')"
        ),
        format!(
            "INSERT INTO jobs (id, project_id, left_source_id, right_source_id, state, rules, options, counts, attempt, published_attempt, created_us) \
             VALUES ('{JOB}', '{PROJECT}', '{SOURCE}', '{SOURCE}', 'completed', '{{}}', '{{\"left_id\":\"id\"}}', \
             '{{\"left\":1,\"right\":1,\"matched\":0,\"discrepancy\":0,\"review\":0,\"unmatched_left\":1,\"unmatched_right\":0,\"errors\":0}}', 1, 1, 5)"
        ),
        format!(
            "INSERT INTO results (job_id, attempt, ordinal, status, kind, state, comparisons, explanation) \
             VALUES ('{JOB}', 1, 0, 'unmatched_left', 'missing', 'unmatched', '[]', 'nothing is like it')"
        ),
        format!(
            "INSERT INTO result_lines (job_id, attempt, result_ordinal, side, record_ordinal) VALUES ('{JOB}', 1, 0, 'left', 2)"
        ),
        claim,
    ];
    if version >= "2026-11-24-000006" {
        rows.push("INSERT INTO publications (user_id, key, request_hash, at_us) VALUES ('ana', 'k', 'h', 5)".into());
    }
    rows
}

async fn insert(options: &Options, statements: &[String], url: Option<&str>) {
    match (&options.place, url) {
        (Place::Sqlite(path), _) => {
            let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            statements.iter().for_each(|statement| connection.batch_execute(statement).unwrap());
        }
        (Place::Postgres(_), Some(url)) => {
            let (client, _task) = connect(url).await;
            client.batch_execute(&statements.join(";\n")).await.unwrap();
        }
        _ => panic!("a server without an address"),
    }
}

fn place(dir: &tempfile::TempDir) -> (Options, Option<String>) {
    match database_url() {
        Some(url) => (Options::postgres(url.parse().unwrap()), Some(url)),
        None => (Options::sqlite(database(dir)), None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_from_every_older_version_keeps_what_is_stored() {
    let names: Vec<String> = {
        let dir = tempfile::tempdir().unwrap();
        let steps = Migrations::of(place(&dir).0).up().await.unwrap();
        steps.into_iter().map(|step| step.name).collect()
    };
    assert!(names.len() >= 3, "{names:?}");
    for (at, version) in names.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (options, url) = place(&dir);
        let migrations = Migrations::of(options.clone());
        migrations.up().await.unwrap();
        let newer = names.len() - 1 - at;
        if newer > 0 {
            let steps = migrations.down(newer).await.unwrap();
            assert!(steps.iter().enumerate().all(|(step, found)| found.applied == (step <= at)), "{steps:?}");
        }
        insert(&options, &rows(version), url.as_deref()).await;

        let store = Store::start(options).unwrap();
        wait_status(&store, "ready", Status::is_ready).await;
        let project: ProjectId = PROJECT.parse().unwrap();
        assert_eq!(projects::get(&store, project).await.unwrap().name, "books", "from {version}");
        let Recovery::Recovered { events, head } = events::since(&store, project, "k3f9ab", 0, 10).await.unwrap()
        else {
            panic!("the history of {version} is gone")
        };
        assert_eq!((events.len(), head), (1, 1), "from {version}");
        let source = sources::get(&store, SOURCE.parse::<SourceId>().unwrap()).await.unwrap();
        assert_eq!(source.rows, Some(1), "from {version}");
        let job = jobs::get(&store, JOB.parse::<JobId>().unwrap()).await.unwrap();
        let page = results::page(&store, job.id, ResultStatus::All, None, 10).await.unwrap();
        assert_eq!(page.items[0].left[0].id, "L1", "from {version}");
        let held = claims::list(&store, project).await.unwrap();
        assert_eq!((held[0].user_id.as_str(), held[0].token), ("ana", 7), "from {version}");
        projects::rename(&store, project, "more books").await.unwrap();
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_from_shared_texts_keeps_every_explanation_and_ends_jobs_that_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let (options, url) = place(&dir);
    let migrations = Migrations::of(options.clone());
    let steps = migrations.up().await.unwrap();
    let since = steps.iter().rev().position(|step| step.name.contains("000013")).expect("the migration") + 1;
    let mut statements = rows("9999");
    // The one of an older version stays as it is; then one of each kind as this version stores them.
    let lonely = [
        ("unmatched_left", "missing", "NULL", "nothing on the right side is like it"),
        ("unmatched_right", "missing", "NULL", "nothing on the left side is like it"),
        ("unmatched_left", "duplicate", "'L7'", "repeats L7 of its own side"),
        ("unmatched_left", "outbid", "'R8'", "its best candidate R8 is a better match for another record"),
        ("unmatched_right", "contra", "'R9'", "undone by R9 of its own side"),
        ("unmatched_left", "unlike", "NULL", "its best candidate is too unlike"),
    ];
    let mut said = vec!["nothing is like it".to_owned()];
    for (ordinal, (status, kind, related, expected)) in (1..).zip(lonely) {
        statements.push(format!(
            "INSERT INTO results (job_id, attempt, ordinal, status, kind, related_id, state, comparisons, explanation) \
             VALUES ('{JOB}', 1, {ordinal}, '{status}', '{kind}', {related}, 'unmatched', '[]', '')"
        ));
        said.push(expected.to_owned());
    }
    statements.push(format!(
        "INSERT INTO result_texts (job_id, attempt, ordinal, comparisons, explanation) VALUES ('{JOB}', 1, 0, '[]', 'the same day')"
    ));
    statements.push(format!(
        "INSERT INTO results (job_id, attempt, ordinal, status, match_id, kind, state, comparisons, explanation, text_ordinal) \
         VALUES ('{JOB}', 1, 7, 'matched', 'm1', 'one_to_one', 'auto', '[\"7.00\"]', '', 0)"
    ));
    said.push("the same day".to_owned());
    for (at, state) in [(4, "paused"), (5, "pausing")] {
        let id = format!("{}{at}", &JOB[..JOB.len() - 1]);
        statements.push(format!(
            "INSERT INTO jobs (id, project_id, left_source_id, right_source_id, state, rules, options, attempt, created_us) \
             VALUES ('{id}', '{PROJECT}', '{SOURCE}', '{SOURCE}', '{state}', '{{}}', '{{}}', 1, 5)"
        ));
    }
    insert(&options, &statements, url.as_deref()).await;
    migrations.down(since).await.unwrap();
    assert_eq!(column(&dir, url.as_deref(), "SELECT explanation AS text FROM results ORDER BY ordinal").await, said);
    let ended = "SELECT state || ' ' || CASE WHEN finished_us > 1700000000000000 THEN 'now' ELSE 'never' END AS text \
                 FROM jobs WHERE state <> 'completed' ORDER BY id";
    assert_eq!(column(&dir, url.as_deref(), ended).await, ["cancelled now", "cancelled now"]);
    let comparisons = "SELECT comparisons AS text FROM results WHERE ordinal = 7";
    assert_eq!(column(&dir, url.as_deref(), comparisons).await, ["[]"], "those of its text");
}

/// The column `text` of a query.
async fn column(dir: &tempfile::TempDir, url: Option<&str>, query: &str) -> Vec<String> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        text: String,
    }
    match url {
        Some(url) => {
            let (client, _task) = connect(url).await;
            client.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
        }
        None => {
            let mut file = SqliteConnection::establish(database(dir).to_str().unwrap()).unwrap();
            let rows: Vec<Row> = diesel::RunQueryDsl::load(diesel::sql_query(query), &mut file).unwrap();
            rows.into_iter().map(|row| row.text).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_applies_and_takes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, url) = place(&dir);
    let url_given = url.as_deref().unwrap_or_default();
    let run = |words: &[&str]| command(&[&["migrate"], words].concat(), dir.path(), url_given);
    let (code, text) = run(&["status"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("first_light") && text.contains("older than this binary"), "{text}");
    let (code, text) = run(&["up"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&["status"]);
    assert!(code == Some(0) && text.contains("is the one that this binary expects"), "{text}");
    let (code, text) = run(&["down"]);
    assert!(code == Some(0) && text.contains("1 missing"), "{text}");
    let (code, text) = run(&["up"]);
    assert!(code == Some(0) && !text.contains("missing"), "{text}");
    let options = match &url {
        Some(url) => Options::postgres(url.parse().unwrap()),
        None => Options::sqlite(database(&dir)),
    };
    let store = Store::start(options).unwrap();
    assert!(store.ready_within(Duration::from_secs(10)).await);
    store.stop().await;
}
