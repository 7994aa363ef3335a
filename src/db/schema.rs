//! The tables as diesel sees them: one schema for every backend, in types that both SQLite and PostgreSQL have
//! or that `sql_types` gives a form on each.
//!
//! It leaves the meaning of columns to the file of each noun. Keep it in step with `migrations/`: the column
//! order here is the order of `#[derive(Queryable)]` structs.
use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    projects (id) {
        id -> Uid,
        name -> Text,
        epoch -> Text,
        head_offset -> BigInt,
        last_claim_us -> BigInt,
        created_us -> BigInt,
        deleted_us -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    events (project_id, off) {
        project_id -> Uid,
        off -> BigInt,
        at_us -> BigInt,
        body -> Text,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::{Document, Uid};

    sources (id) {
        id -> Uid,
        project_id -> Uid,
        name -> Text,
        filename -> Text,
        format -> Text,
        bytes -> BigInt,
        sha256 -> Text,
        profile -> Document,
        record_count -> Nullable<BigInt>,
        error_count -> Nullable<BigInt>,
        created_us -> BigInt,
        deleted_us -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    records (source_id, ordinal) {
        source_id -> Uid,
        ordinal -> BigInt,
        record_key -> Text,
        fields -> Text,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::{Document, Uid};

    jobs (id) {
        id -> Uid,
        project_id -> Uid,
        left_source_id -> Uid,
        right_source_id -> Uid,
        state -> Text,
        rules -> Document,
        options -> Document,
        counts -> Nullable<Document>,
        error -> Nullable<Text>,
        attempt -> BigInt,
        published_attempt -> Nullable<BigInt>,
        created_us -> BigInt,
        started_us -> Nullable<BigInt>,
        finished_us -> Nullable<BigInt>,
        deleted_us -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    job_queue (job_id) {
        job_id -> Uid,
        queued_us -> BigInt,
        abandoned -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until_us -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    results (job_id, attempt, ordinal) {
        job_id -> Uid,
        attempt -> BigInt,
        ordinal -> BigInt,
        status -> Text,
        match_id -> Nullable<Text>,
        kind -> Text,
        state -> Text,
        probability -> Nullable<Double>,
        comparisons -> Text,
        explanation -> Text,
        related_id -> Nullable<Text>,
        text_ordinal -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    result_texts (job_id, attempt, ordinal) {
        job_id -> Uid,
        attempt -> BigInt,
        ordinal -> BigInt,
        comparisons -> Text,
        explanation -> Text,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    job_checkpoints (job_id, part) {
        job_id -> Uid,
        part -> BigInt,
        attempt -> BigInt,
        body -> Text,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    job_parts (job_id, step, part) {
        job_id -> Uid,
        step -> BigInt,
        part -> BigInt,
        holder -> Nullable<Text>,
        until_us -> Nullable<BigInt>,
        body -> Nullable<Binary>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    result_lines (job_id, attempt, result_ordinal, side, record_ordinal) {
        job_id -> Uid,
        attempt -> BigInt,
        result_ordinal -> BigInt,
        side -> Text,
        record_ordinal -> BigInt,
        allocated_minor -> Nullable<BigInt>,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    row_errors (job_id, attempt, ordinal) {
        job_id -> Uid,
        attempt -> BigInt,
        ordinal -> BigInt,
        side -> Text,
        line -> BigInt,
        column_name -> Text,
        value -> Text,
        reason -> Text,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    staged_attempts (job_id, attempt) {
        job_id -> Uid,
        attempt -> BigInt,
    }
}

table! {
    use diesel::sql_types::*;
    use super::super::sql_types::Uid;

    claims (project_id, entity_id) {
        project_id -> Uid,
        entity_id -> Text,
        user_id -> Text,
        holder -> Text,
        token -> BigInt,
        expires_us -> BigInt,
    }
}

table! {
    use diesel::sql_types::*;

    publications (user_id, key) {
        user_id -> Text,
        key -> Text,
        request_hash -> Text,
        ep -> Nullable<Text>,
        off -> Nullable<BigInt>,
        at_us -> BigInt,
    }
}

table! {
    use diesel::sql_types::*;

    installation (only_one) {
        only_one -> Integer,
        id -> Text,
    }
}

allow_tables_to_appear_in_same_query!(
    projects,
    events,
    sources,
    records,
    jobs,
    job_queue,
    results,
    result_texts,
    result_lines,
    job_checkpoints,
    job_parts,
    row_errors,
    staged_attempts,
    claims,
    publications
);
