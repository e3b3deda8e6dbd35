-- +goose Up
CREATE TABLE hold (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL,
    active  boolean NOT NULL
);
CREATE INDEX hold_in_force ON hold (id) WHERE active;
