-- Lists by system, entitlement and state find the newest in a state at once, however
-- many there are in others. The order of ids is that of "POSIX", which has the same
-- bytes as "C" and which the primary key cannot give: a planner that thinks the states
-- evenly spread would walk it past everything.

-- +goose Up
CREATE INDEX grant_on_system_in_state ON access_grant (system, state, id COLLATE "POSIX");
CREATE INDEX grant_on_entitlement_in_state ON access_grant (entitlement, state, id COLLATE "POSIX");
CREATE INDEX grant_newest_in_state ON access_grant (state, id COLLATE "POSIX");
CREATE INDEX request_newest_in_state ON request (state, id COLLATE "POSIX");
-- What these find is found by the new ones, by the version before, too.
DROP INDEX grant_on_system;
DROP INDEX grant_on_entitlement;
DROP INDEX grant_in_state;
DROP INDEX request_in_state;
