
-- the first release
CREATE TABLE a (b);

CREATE TABEL c (d);
