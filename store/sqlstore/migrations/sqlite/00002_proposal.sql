-- +goose Up
CREATE TABLE proposal (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    state   TEXT    NOT NULL
) STRICT;
CREATE INDEX proposal_in_state ON proposal (state, id);
