-- Several machines may share a history, on a server; in a file there is one, without a name. Metrics, readings, alerts and
-- watches are a machine's own. Rules and admins are everybody's.

-- dbm: rebuild metric
CREATE TABLE metric (
    id   INTEGER PRIMARY KEY,
    host TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL,
    UNIQUE (host, name)
) STRICT;

ALTER TABLE reading ADD COLUMN host TEXT NOT NULL DEFAULT '';

-- dbm: rebuild watch
CREATE TABLE watch (
    host     TEXT    NOT NULL DEFAULT '',
    name     TEXT    NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (host, name)
) STRICT, WITHOUT ROWID;

-- dbm: rebuild pending
CREATE TABLE pending (
    host    TEXT    NOT NULL DEFAULT '',
    rule_id INTEGER NOT NULL REFERENCES rule (id) ON DELETE CASCADE,
    metric  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    PRIMARY KEY (host, rule_id, metric)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_rule ON pending (rule_id);

-- Each machine counts its own alerts: it tells of them while the database is away.
DROP INDEX open_alert;

-- dbm: rebuild alert
CREATE TABLE alert (
    host            TEXT    NOT NULL DEFAULT '',
    id              INTEGER NOT NULL,
    rule_id         INTEGER REFERENCES rule (id) ON DELETE SET NULL,
    rule            TEXT    NOT NULL,
    metric          TEXT    NOT NULL,
    level           INTEGER NOT NULL,
    announced       REAL    NOT NULL,
    worst           REAL    NOT NULL,
    raised_at       INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER,
    ended           TEXT CHECK (ended IN ('recovered', 'rule_removed', 'rule_replaced', 'not_measured')),
    reason          TEXT,
    processes       TEXT,
    PRIMARY KEY (host, id)
) STRICT;

CREATE UNIQUE INDEX open_alert ON alert (host, rule_id, metric) WHERE cleared_at IS NULL;

-- dbm: rebuild event
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    host     TEXT    NOT NULL DEFAULT '',
    alert_id INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    what     TEXT    NOT NULL CHECK (what IN ('raised', 'worse', 'acknowledged', 'cleared')),
    value    REAL    NOT NULL,
    FOREIGN KEY (host, alert_id) REFERENCES alert (host, id) ON DELETE CASCADE
) STRICT;

DROP INDEX event_alert;
CREATE INDEX event_alert ON event (host, alert_id);

-- The values of readings, a row each, under one name on every database.
CREATE VIEW sample AS
SELECT at, CAST(key AS INTEGER) AS metric_id, CAST(value AS REAL) AS value FROM reading, json_each(samples);
