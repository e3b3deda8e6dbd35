-- What is due is looked up by its kind: a claim passes over nothing of another one.

-- +goose Up
CREATE INDEX work_due_of_kind ON work (kind, due_at, key) WHERE parked_at = 0;
DROP INDEX work_due;
