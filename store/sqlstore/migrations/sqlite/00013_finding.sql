-- +goose Up
CREATE TABLE finding (
    id      TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL,
    system  TEXT NOT NULL,
    open    INTEGER NOT NULL
) STRICT;
CREATE INDEX finding_of_system ON finding (system, id);
CREATE INDEX finding_open ON finding (id) WHERE open;
CREATE TABLE reconciliation (
    id      TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT NOT NULL
) STRICT;
