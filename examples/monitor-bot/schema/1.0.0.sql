-- The first release: one row per reading, and the processes it looked for.
CREATE TABLE sample (
    at     INTEGER PRIMARY KEY,
    cpu    REAL NOT NULL,
    memory REAL NOT NULL,
    swap   REAL NOT NULL
) STRICT;

CREATE TABLE process (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
