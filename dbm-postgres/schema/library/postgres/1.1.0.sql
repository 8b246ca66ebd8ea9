ALTER TABLE book ADD COLUMN pages bigint;
