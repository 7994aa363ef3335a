//! The tables as diesel sees them: one schema for every backend, in types that both SQLite and PostgreSQL have.
//!
//! It leaves the meaning of columns to the file of each noun. Keep it in step with `migrations/`: the column
//! order here is the order of `#[derive(Queryable)]` structs.
use diesel::{allow_tables_to_appear_in_same_query, table};

table! {
    projects (id) {
        id -> Text,
        name -> Text,
        epoch -> Text,
        head_offset -> BigInt,
        last_claim_us -> BigInt,
        created_us -> BigInt,
        deleted_us -> Nullable<BigInt>,
    }
}

table! {
    events (project_id, off) {
        project_id -> Text,
        off -> BigInt,
        at_us -> BigInt,
        body -> Text,
    }
}

table! {
    sources (id) {
        id -> Text,
        project_id -> Text,
        name -> Text,
        filename -> Text,
        format -> Text,
        bytes -> BigInt,
        sha256 -> Text,
        profile -> Text,
        record_count -> Nullable<BigInt>,
        error_count -> Nullable<BigInt>,
        created_us -> BigInt,
        deleted_us -> Nullable<BigInt>,
    }
}

table! {
    records (source_id, ordinal) {
        source_id -> Text,
        ordinal -> BigInt,
        record_key -> Text,
        fields -> Text,
    }
}

table! {
    jobs (id) {
        id -> Text,
        project_id -> Text,
        left_source_id -> Text,
        right_source_id -> Text,
        state -> Text,
        rules -> Text,
        options -> Text,
        counts -> Nullable<Text>,
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
    job_queue (job_id) {
        job_id -> Text,
        queued_us -> BigInt,
        abandoned -> BigInt,
        lease_owner -> Nullable<Text>,
        lease_until_us -> Nullable<BigInt>,
    }
}

table! {
    results (job_id, attempt, ordinal) {
        job_id -> Text,
        attempt -> BigInt,
        ordinal -> BigInt,
        status -> Text,
        match_id -> Nullable<Text>,
        kind -> Text,
        state -> Text,
        probability -> Nullable<Double>,
        comparisons -> Text,
        explanation -> Text,
    }
}

table! {
    result_lines (job_id, attempt, result_ordinal, side, record_ordinal) {
        job_id -> Text,
        attempt -> BigInt,
        result_ordinal -> BigInt,
        side -> Text,
        record_ordinal -> BigInt,
        allocated_minor -> Nullable<BigInt>,
    }
}

table! {
    row_errors (job_id, attempt, ordinal) {
        job_id -> Text,
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
    staged_attempts (job_id, attempt) {
        job_id -> Text,
        attempt -> BigInt,
    }
}

table! {
    claims (project_id, entity_id) {
        project_id -> Text,
        entity_id -> Text,
        user_id -> Text,
        holder -> Text,
        token -> BigInt,
        expires_us -> BigInt,
    }
}

table! {
    publications (user_id, key) {
        user_id -> Text,
        key -> Text,
        request_hash -> Text,
        ep -> Nullable<Text>,
        off -> Nullable<BigInt>,
        at_us -> BigInt,
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
    result_lines,
    row_errors,
    staged_attempts,
    claims,
    publications
);
