-- +goose Up
CREATE TABLE delegation (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX delegation_since ON delegation (revision);
