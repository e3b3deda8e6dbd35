-- +goose Up
CREATE TABLE finding (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL,
    system  text COLLATE "C" NOT NULL,
    open    boolean NOT NULL
);
CREATE INDEX finding_of_system ON finding (system, id);
CREATE INDEX finding_open ON finding (id) WHERE open;
CREATE TABLE reconciliation (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL
);
