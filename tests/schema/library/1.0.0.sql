-- A parent with a seed, and a child of it.
CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE book (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    shelf INTEGER NOT NULL REFERENCES shelf (id) ON DELETE CASCADE
) STRICT;
INSERT INTO shelf VALUES (1, 'novels');
INSERT INTO book (title, shelf) VALUES ('Emma', 1);
