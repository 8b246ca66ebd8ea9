-- Rules, the alerts they give, and who may change something.
CREATE TABLE rule (
    id       INTEGER PRIMARY KEY,
    text     TEXT    NOT NULL UNIQUE,
    added_at INTEGER NOT NULL,
    added_by TEXT    NOT NULL
) STRICT;

-- A value that is bad, but not for long enough yet.
CREATE TABLE pending (
    rule_id INTEGER NOT NULL REFERENCES rule (id) ON DELETE CASCADE,
    metric  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    seen    INTEGER NOT NULL,
    PRIMARY KEY (rule_id, metric)
) STRICT, WITHOUT ROWID;

-- An alert outlives its rule, so it keeps the rule's text.
CREATE TABLE alert (
    id              INTEGER PRIMARY KEY,
    rule_id         INTEGER REFERENCES rule (id) ON DELETE SET NULL,
    rule            TEXT    NOT NULL,
    metric          TEXT    NOT NULL,
    level           INTEGER NOT NULL,
    announced       REAL    NOT NULL,
    worst           REAL    NOT NULL,
    raised_at       INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER
) STRICT;

CREATE UNIQUE INDEX open_alert ON alert (rule_id, metric) WHERE cleared_at IS NULL;
CREATE INDEX alert_rule ON alert (rule_id);

-- What there is to tell; a front end that sends messages keeps its place here.
CREATE TABLE event (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id INTEGER NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    at       INTEGER NOT NULL,
    what     TEXT    NOT NULL CHECK (what IN ('raised', 'worse', 'acknowledged', 'cleared')),
    value    REAL    NOT NULL
) STRICT;

CREATE INDEX event_alert ON event (alert_id);

CREATE TABLE delivery (
    front_end TEXT    PRIMARY KEY,
    event_id  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE admin (
    id       TEXT    PRIMARY KEY,
    added_at INTEGER NOT NULL,
    added_by TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
