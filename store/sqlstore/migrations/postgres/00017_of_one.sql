-- Lists of a system or an entitlement have an order of ids of their own, with the same
-- bytes once more: a planner that thinks what is live evenly spread over the systems
-- would look for that of one among all that is live.

-- +goose Up
LOCK TABLE access_grant IN ACCESS EXCLUSIVE MODE;
DROP INDEX grant_on_system_in_state;
DROP INDEX grant_on_entitlement_in_state;
CREATE INDEX grant_on_system_in_state ON access_grant (system, state, id COLLATE "ucs_basic");
CREATE INDEX grant_on_entitlement_in_state ON access_grant (entitlement, state, id COLLATE "ucs_basic");
