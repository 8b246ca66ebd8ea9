-- Any number of metrics instead of three columns; a watch remembers since when.
ALTER TABLE sample RENAME TO wide;

CREATE TABLE metric (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE sample (
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    at        INTEGER NOT NULL,
    value     REAL    NOT NULL,
    PRIMARY KEY (metric_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE watch (
    name     TEXT    PRIMARY KEY,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO metric (name) VALUES ('cpu'), ('memory'), ('swap');
INSERT INTO sample SELECT id, at, cpu    FROM wide, metric WHERE name = 'cpu';
INSERT INTO sample SELECT id, at, memory FROM wide, metric WHERE name = 'memory';
INSERT INTO sample SELECT id, at, swap   FROM wide, metric WHERE name = 'swap';
INSERT INTO watch  SELECT name, unixepoch() FROM process;

DROP TABLE wide;
DROP TABLE process;
