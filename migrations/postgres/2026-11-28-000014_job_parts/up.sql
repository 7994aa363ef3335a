-- What a run compared, in parts, until its matching is over: a run that begins again takes them from here, and so do replicas
-- that compute parts of the same job. Without a body a part is open, or computed by its holder until that time.
CREATE TABLE job_parts (
    job_id   UUID   NOT NULL,
    step     BIGINT NOT NULL,
    part     BIGINT NOT NULL,
    holder   TEXT,
    until_us BIGINT,
    body     BYTEA,
    PRIMARY KEY (job_id, step, part)
);
