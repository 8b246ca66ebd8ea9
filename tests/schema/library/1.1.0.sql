-- The parent is rebuilt: with foreign keys on, its children would go.
CREATE TABLE shelf_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE) STRICT;
INSERT INTO shelf_new SELECT id, name FROM shelf;
DROP TABLE shelf;
ALTER TABLE shelf_new RENAME TO shelf;
CREATE TABLE step (place INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
INSERT INTO step (name) SELECT '1.1.0 of ' || count(*) FROM book;
