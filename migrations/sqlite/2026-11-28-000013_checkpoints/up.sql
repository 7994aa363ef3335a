-- What a run found, until its results are visible: a job that stops in between goes on from here. Part 0 comes last and says
-- that the others are whole.
CREATE TABLE job_checkpoints (
    job_id  TEXT   NOT NULL,
    part    BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (job_id, part)
);
-- What many results of an attempt say in the same words.
CREATE TABLE result_texts (
    job_id      TEXT   NOT NULL,
    attempt     BIGINT NOT NULL,
    ordinal     BIGINT NOT NULL,
    comparisons TEXT   NOT NULL,
    explanation TEXT   NOT NULL,
    PRIMARY KEY (job_id, attempt, ordinal)
) WITHOUT ROWID;
-- Its text among those; then its own explanation is empty, and of the comparisons it has the values that its records have not.
ALTER TABLE results ADD COLUMN text_ordinal BIGINT;
