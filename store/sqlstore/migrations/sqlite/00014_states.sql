-- Lists by system, entitlement and state find the newest in a state at once, however
-- many there are in others.

-- +goose Up
CREATE INDEX grant_on_system_in_state ON access_grant (system, state, id);
CREATE INDEX grant_on_entitlement_in_state ON access_grant (entitlement, state, id);
-- What these find is found by the new ones, by the version before, too.
DROP INDEX grant_on_system;
DROP INDEX grant_on_entitlement;
