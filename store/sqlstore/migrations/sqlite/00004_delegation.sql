-- +goose Up
CREATE TABLE delegation (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX delegation_since ON delegation (revision);
