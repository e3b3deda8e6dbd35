-- +goose Up
CREATE TABLE batch (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL
);
