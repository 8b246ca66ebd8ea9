-- dbm: rebuild user
CREATE TABLE user (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL COLLATE NOCASE
) STRICT;
INSERT INTO user SELECT id, coalesce(name, 'nobody') FROM old_user;

ALTER TABLE user ADD COLUMN rank INTEGER;
