-- fails where there is a row
ALTER TABLE a ADD COLUMN c INTEGER NOT NULL;
