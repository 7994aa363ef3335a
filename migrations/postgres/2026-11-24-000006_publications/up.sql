-- What was published under an Idempotency-Key, so that asking again gives the first answer instead of a second event.
CREATE TABLE publications (
    user_id      TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    ep           TEXT,
    off          BIGINT,
    at_us        BIGINT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX publications_age ON publications (at_us);
