-- Whatever runs is right, also what nobody would write.
CREATE TABLE "user" (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL DEFAULT "nobody" CHECK (name <> "root"),
    twice TEXT GENERATED ALWAYS AS (name || name),
    owner INTEGER REFERENCES user (id)
);
CREATE TABLE seen (at INTEGER PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT);
CREATE VIEW names AS SELECT name, "plain text" AS kind FROM user;
CREATE TRIGGER user_log AFTER INSERT ON user BEGIN
    INSERT INTO log (text) VALUES ("new user");
    UPDATE log SET text = CASE WHEN text = '' THEN 'none' ELSE text END;
END;
CREATE TRIGGER never BEFORE DELETE ON log BEGIN
    SELECT RAISE(ABORT, 'a log stays; as it is');
END;
CREATE TRIGGER rename INSTEAD OF UPDATE OF name ON names BEGIN
    UPDATE user SET name = new.name WHERE name = old.name;
END;
CREATE VIRTUAL TABLE word USING fts5 (text);
CREATE VIRTUAL TABLE place USING their_own_module (a, b);
CREATE INDEX by_sound ON user (their_sound(name));
CREATE INDEX by_order ON user (name COLLATE their_order);
CREATE VIEW sounds AS SELECT their_sound(name) AS sound FROM user;
INSERT INTO user (name, owner) VALUES ('Ada', 1);
