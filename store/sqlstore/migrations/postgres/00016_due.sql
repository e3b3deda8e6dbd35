-- What is due is looked up by its kind: a claim passes over nothing of another one.
-- Lists of a system or an entitlement have an order of ids of their own, with the same
-- bytes once more: a planner that thinks what is live evenly spread over the systems
-- would look for that of one among all that is live.

-- +goose Up
CREATE INDEX work_due_of_kind ON work (kind, due_at, key) WHERE parked_at = 0;
DROP INDEX work_due;
DROP INDEX grant_on_system_in_state;
DROP INDEX grant_on_entitlement_in_state;
CREATE INDEX grant_on_system_in_state ON access_grant (system, state, id COLLATE "ucs_basic");
CREATE INDEX grant_on_entitlement_in_state ON access_grant (entitlement, state, id COLLATE "ucs_basic");
