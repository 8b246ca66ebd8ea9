-- dbm: rebuild user
CREATE TABLE user (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    rank INTEGER NOT NULL DEFAULT 7 CHECK (rank < 10),
    name TEXT NOT NULL
) STRICT;
INSERT INTO user SELECT id, coalesce(rank, 7), name FROM old_user;
