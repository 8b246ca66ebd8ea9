CREATE TABLE account (
    id          bigint PRIMARY KEY,
    name        text NOT NULL,
    coins       bigint NOT NULL DEFAULT 0,
    rewarded_on bigint NOT NULL DEFAULT 0
);
