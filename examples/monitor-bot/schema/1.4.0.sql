-- What is measured together is stored together: a row of a single page, and not one row for each metric, each in a page of
-- its own. `samples` has the values by the numbers of their metrics.
CREATE TABLE reading (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    samples BLOB    NOT NULL CHECK (json_valid(samples, 8))
) STRICT;

CREATE INDEX reading_at ON reading (at);

INSERT INTO reading (at, samples)
SELECT at, jsonb_group_object(CAST(metric_id AS TEXT), value) FROM sample GROUP BY at;

DROP TABLE sample;
