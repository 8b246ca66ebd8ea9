CREATE TABLE account (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    coins       INTEGER NOT NULL DEFAULT 0,
    rewarded_on INTEGER NOT NULL DEFAULT 0
) STRICT;
