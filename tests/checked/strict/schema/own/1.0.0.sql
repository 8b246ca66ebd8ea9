CREATE TABLE user (name TEXT CHECK (their_check(name)));
