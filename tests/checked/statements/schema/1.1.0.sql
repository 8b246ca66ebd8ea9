CREATE TABLE note (user INTEGER NOT NULL REFERENCES user (id), text TEXT NOT NULL) STRICT;
CREATE INDEX note_user ON note (user);
