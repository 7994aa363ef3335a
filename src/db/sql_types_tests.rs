//! What is stored on a real PostgreSQL comes back as it was, in the engine's own types.
//! Leaves SQLite to the store's tests. Easy to get wrong: diesel checks a type's name, and only a server its bytes.
use super::jobs::JobState;
use super::sql_types::Json;
use crate::protocol::ids::JobId;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

#[path = "../../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the integration suite's harness, of which this file needs a part")]
mod postgres;

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql_types::{Document, Uid};

    samples (id) {
        id -> Uid,
        doc -> Document,
        shown -> Text,
        state -> Text,
        maybe -> Nullable<Document>,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_documents_and_words_come_back_from_postgresql_as_they_were_stored() {
    let url = postgres::Postgres::shared().database().await;
    let mut connection = AsyncPgConnection::establish(&url).await.unwrap();
    let create = "CREATE TABLE samples (id UUID PRIMARY KEY, doc JSON NOT NULL, shown TEXT NOT NULL, \
                  state TEXT NOT NULL, maybe JSON)";
    connection.batch_execute(create).await.unwrap();
    let ids = [JobId::generate(), JobId::generate(), JobId::generate()];
    let document = serde_json::json!({"rules": [{"field": "amount", "tolerance": 0.01}], "name": "Ä \"quoted\""});
    for id in ids {
        diesel::insert_into(samples::table)
            .values((
                samples::id.eq(id),
                samples::doc.eq(Json(document.clone())),
                samples::shown.eq(r#"["\u0000"]"#),
                samples::state.eq(JobState::Scoring),
            ))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let stored: Vec<(JobId, Json, Json, JobState, Option<Json>)> =
        samples::table.filter(samples::id.eq_any(ids)).order(samples::id).load(&mut connection).await.unwrap();
    // Made in this order, so sorted in it by an engine that compares uuids byte by byte.
    let whole = |id| (id, Json(document.clone()), Json(serde_json::json!(["\u{0}"])), JobState::Scoring, None);
    assert_eq!(stored, ids.map(whole));
    let after: Vec<JobId> =
        samples::table.filter(samples::id.gt(ids[1])).select(samples::id).load(&mut connection).await.unwrap();
    assert_eq!(after, [ids[2]]);
}
