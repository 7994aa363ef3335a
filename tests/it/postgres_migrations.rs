//! The two engines' migrations say the same: same names, same tables, same columns, and a way back.
//! Leaves who runs them when to the store. Easy to get wrong: a column's type differs by design, its nullability never.
use crate::support::postgres::{Postgres, connect};
use diesel::connection::SimpleConnection;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Table, column, and whether it must have a value.
type Column = (String, String, bool);

fn migrations(engine: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(!found.is_empty(), "{engine} has no migrations");
    found
}

fn names(engine: &str) -> Vec<String> {
    migrations(engine).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn statements(migration: &Path, file: &str) -> String {
    std::fs::read_to_string(migration.join(file)).unwrap()
}

async fn postgres_columns(client: &tokio_postgres::Client) -> BTreeSet<Column> {
    let asked = "SELECT table_name::text, column_name::text, is_nullable::text FROM information_schema.columns \
                 WHERE table_schema = 'public'";
    let rows = client.query(asked, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get::<_, &str>(2) == "NO")).collect()
}

fn sqlite_columns() -> BTreeSet<Column> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        place: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
        #[diesel(sql_type = diesel::sql_types::Bool)]
        required: bool,
    }
    let mut connection = SqliteConnection::establish(":memory:").unwrap();
    for migration in migrations("sqlite") {
        connection.batch_execute(&statements(&migration, "up.sql")).unwrap();
    }
    let asked = "SELECT t.name AS place, c.name AS name, c.\"notnull\" AS required FROM sqlite_master t \
                 JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    let rows: Vec<Row> = diesel::sql_query(asked).load(&mut connection).unwrap();
    rows.into_iter().map(|row| (row.place, row.name, row.required)).collect()
}

#[test]
fn both_engines_have_migrations_of_the_same_names() {
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_migrations_make_the_same_tables_and_columns() {
    let url = Postgres::shared().database().await;
    let (mut client, _task) = connect(&url).await;
    for migration in migrations("postgres") {
        let transaction = client.transaction().await.unwrap();
        transaction.batch_execute(&statements(&migration, "up.sql")).await.unwrap();
        transaction.commit().await.unwrap();
    }
    assert_eq!(postgres_columns(&client).await, sqlite_columns());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_migrations_taken_back_one_by_one_leave_what_was_there_before_each() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    let mut before = Vec::new();
    for migration in migrations("postgres") {
        before.push((postgres_columns(&client).await, migration.clone()));
        client.batch_execute(&statements(&migration, "up.sql")).await.unwrap();
    }
    for (columns, migration) in before.into_iter().rev() {
        client.batch_execute(&statements(&migration, "down.sql")).await.unwrap();
        assert_eq!(postgres_columns(&client).await, columns, "after taking back {}", migration.display());
    }
}
