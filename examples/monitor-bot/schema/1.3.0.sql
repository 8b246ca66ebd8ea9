-- Old readings are rolled up, so that a year of history stays small.
CREATE TABLE minute (
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    at        INTEGER NOT NULL,
    low       REAL    NOT NULL,
    high      REAL    NOT NULL,
    total     REAL    NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (metric_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE hour (
    metric_id INTEGER NOT NULL REFERENCES metric (id),
    at        INTEGER NOT NULL,
    low       REAL    NOT NULL,
    high      REAL    NOT NULL,
    total     REAL    NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (metric_id, at)
) STRICT, WITHOUT ROWID;
