-- What a next version could do: it only adds, so that the version before it goes
-- on to work on the same database.

-- +goose Up
ALTER TABLE request ADD COLUMN urgency text COLLATE "C" NOT NULL DEFAULT 'none';
CREATE INDEX request_urgent ON request (urgency, id);
CREATE TABLE urgency (
    name text COLLATE "C" NOT NULL PRIMARY KEY
);
INSERT INTO urgency (name) SELECT DISTINCT urgency FROM request;
