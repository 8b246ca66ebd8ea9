-- It would not end in the life of a compiler. Its rows do not matter to a schema, the table behind it does.
INSERT INTO seen WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n;
CREATE TABLE behind (id INTEGER PRIMARY KEY) STRICT;
