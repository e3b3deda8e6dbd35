-- +goose Up
CREATE TABLE hold (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    active  INTEGER NOT NULL
) STRICT;
CREATE INDEX hold_in_force ON hold (id) WHERE active;
