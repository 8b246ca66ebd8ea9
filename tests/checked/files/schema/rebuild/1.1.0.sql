-- dbm: rebuild b
CREATE TABLE a (b TEXT);
