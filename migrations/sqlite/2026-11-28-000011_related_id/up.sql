-- Of a record without a match: the id of the row it repeats, else of its nearest candidate.
ALTER TABLE results ADD COLUMN related_id TEXT;
