-- +goose Up
CREATE TABLE proposal (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL,
    state   text COLLATE "C" NOT NULL
);
CREATE INDEX proposal_in_state ON proposal (state, id);
