-- How an alert ended, why nothing could be stored, and what was busy when it was raised.
ALTER TABLE alert ADD COLUMN ended TEXT
    CHECK (ended IN ('recovered', 'rule_removed', 'rule_replaced', 'not_measured'));
ALTER TABLE alert ADD COLUMN reason TEXT;
ALTER TABLE alert ADD COLUMN processes TEXT;

-- What a receiver was not told yet.
CREATE TABLE message (
    event_id INTEGER NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    receiver TEXT    NOT NULL,
    PRIMARY KEY (event_id, receiver)
) STRICT, WITHOUT ROWID;

INSERT INTO message SELECT event.id, front_end FROM delivery JOIN event ON event.id > event_id;

DROP TABLE delivery;
