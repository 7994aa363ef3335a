-- Which installation this database belongs to: its folder of uploads carries the same id.
CREATE TABLE installation (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    id       TEXT    NOT NULL
);
INSERT INTO installation (only_one, id) VALUES (1, lower(hex(randomblob(16))));
