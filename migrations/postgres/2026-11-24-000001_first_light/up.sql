-- First light: projects and their event log, sources and their records, jobs and their results, claims.
-- Ids are UUIDs, times are microseconds since the epoch, money is minor units. JSON is json, not
-- jsonb, which refuses the escape \u0000 that users' files may hold; nothing here looks inside it.
-- Names of columns are those of the other engine.

CREATE TABLE projects (
    id            UUID NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    epoch         TEXT NOT NULL,
    head_offset   BIGINT NOT NULL DEFAULT 0,
    last_claim_us BIGINT NOT NULL DEFAULT 0,
    created_us    BIGINT NOT NULL,
    deleted_us    BIGINT
);
CREATE INDEX projects_deleted ON projects (deleted_us) WHERE deleted_us IS NOT NULL;

CREATE TABLE events (
    project_id UUID NOT NULL REFERENCES projects (id),
    off        BIGINT NOT NULL,
    at_us      BIGINT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (project_id, off)
);
CREATE INDEX events_age ON events (at_us);

CREATE TABLE sources (
    id           UUID NOT NULL PRIMARY KEY,
    project_id   UUID NOT NULL REFERENCES projects (id),
    name         TEXT NOT NULL,
    filename     TEXT NOT NULL,
    format       TEXT NOT NULL,
    bytes        BIGINT NOT NULL,
    sha256       TEXT NOT NULL,
    profile      JSON NOT NULL,
    record_count BIGINT,
    error_count  BIGINT,
    created_us   BIGINT NOT NULL,
    deleted_us   BIGINT
);
CREATE UNIQUE INDEX sources_content ON sources (project_id, sha256) WHERE deleted_us IS NULL;
CREATE INDEX sources_deleted ON sources (deleted_us) WHERE deleted_us IS NOT NULL;

-- No foreign key to sources: a key check per row costs bulk ingest a third; the janitor removes records before their source.
CREATE TABLE records (
    source_id  UUID NOT NULL,
    ordinal    BIGINT NOT NULL,
    record_key TEXT NOT NULL,
    fields     TEXT NOT NULL,
    PRIMARY KEY (source_id, ordinal)
);

CREATE TABLE jobs (
    id                UUID NOT NULL PRIMARY KEY,
    project_id        UUID NOT NULL REFERENCES projects (id),
    left_source_id    UUID NOT NULL REFERENCES sources (id),
    right_source_id   UUID NOT NULL REFERENCES sources (id),
    state             TEXT NOT NULL,
    rules             JSON NOT NULL,
    options           JSON NOT NULL,
    counts            JSON,
    error             TEXT,
    attempt           BIGINT NOT NULL DEFAULT 0,
    published_attempt BIGINT,
    created_us        BIGINT NOT NULL,
    started_us        BIGINT,
    finished_us       BIGINT,
    deleted_us        BIGINT
);
CREATE INDEX jobs_project ON jobs (project_id, id);
CREATE INDEX jobs_left ON jobs (left_source_id);
CREATE INDEX jobs_right ON jobs (right_source_id);
CREATE INDEX jobs_deleted ON jobs (deleted_us) WHERE deleted_us IS NOT NULL;

-- One row per job that is queued or running; it goes when the job ends.
CREATE TABLE job_queue (
    job_id         UUID NOT NULL PRIMARY KEY REFERENCES jobs (id),
    queued_us      BIGINT NOT NULL,
    abandoned      BIGINT NOT NULL DEFAULT 0,
    lease_owner    TEXT,
    lease_until_us BIGINT
);

-- Staged under (job, attempt); visible only when jobs.published_attempt names that attempt.
CREATE TABLE results (
    job_id      UUID NOT NULL,
    attempt     BIGINT NOT NULL,
    ordinal     BIGINT NOT NULL,
    status      TEXT NOT NULL,
    match_id    TEXT,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,
    probability DOUBLE PRECISION,
    comparisons TEXT NOT NULL,
    explanation TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt, ordinal)
);
CREATE INDEX results_status ON results (job_id, attempt, status, ordinal);

CREATE TABLE result_lines (
    job_id          UUID NOT NULL,
    attempt         BIGINT NOT NULL,
    result_ordinal  BIGINT NOT NULL,
    side            TEXT NOT NULL,
    record_ordinal  BIGINT NOT NULL,
    allocated_minor BIGINT,
    PRIMARY KEY (job_id, attempt, result_ordinal, side, record_ordinal)
);

CREATE TABLE row_errors (
    job_id  UUID NOT NULL,
    attempt BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    side    TEXT NOT NULL,
    line    BIGINT NOT NULL,
    column_name TEXT NOT NULL,
    value   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt, ordinal)
);

-- Attempts that have staged rows and are not published: what the janitor looks at instead of all results.
CREATE TABLE staged_attempts (
    job_id  UUID NOT NULL,
    attempt BIGINT NOT NULL,
    PRIMARY KEY (job_id, attempt)
);

CREATE TABLE claims (
    project_id UUID NOT NULL REFERENCES projects (id),
    entity_id  TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    token      BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    PRIMARY KEY (project_id, entity_id)
);
CREATE INDEX claims_expiry ON claims (expires_us);
