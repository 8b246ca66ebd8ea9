
-- dbm: rebuild a
CREATE TABLE a (c TEXT);
