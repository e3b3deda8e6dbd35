-- What is due is looked up by its kind: a claim passes over nothing of another one.
-- The lock comes first, and the next table has a migration of its own: who writes
-- meanwhile waits for this and holds nothing that this waits for.

-- +goose Up
LOCK TABLE work IN ACCESS EXCLUSIVE MODE;
CREATE INDEX work_due_of_kind ON work (kind, due_at, key) WHERE parked_at = 0;
DROP INDEX work_due;
