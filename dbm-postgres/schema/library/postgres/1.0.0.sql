CREATE TABLE book (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
-- A semicolon in a body ends no statement.
CREATE FUNCTION shout(title text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN upper(title); END $$;
