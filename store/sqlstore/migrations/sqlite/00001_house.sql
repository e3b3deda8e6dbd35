-- A noun is its canonical bytes (body), its version, and the columns that
-- follow from the noun and that queries and unique indexes need. Instants are
-- milliseconds since 1970; 0 is none.

-- +goose Up
CREATE TABLE request (
    id          TEXT    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    beneficiary TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    state       TEXT    NOT NULL
) STRICT;
CREATE INDEX request_of_beneficiary ON request (beneficiary, id);
CREATE INDEX request_in_state ON request (state, id);

CREATE TABLE request_entitlement (
    request     TEXT    NOT NULL REFERENCES request (id),
    entitlement TEXT    NOT NULL,
    holder      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    open        INTEGER NOT NULL,
    PRIMARY KEY (request, entitlement)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_open_request ON request_entitlement (holder, entitlement, type) WHERE open;
CREATE INDEX request_for_entitlement ON request_entitlement (entitlement, request);

CREATE TABLE request_party (
    request  TEXT    NOT NULL REFERENCES request (id),
    identity TEXT    NOT NULL,
    awaited  INTEGER NOT NULL,
    PRIMARY KEY (request, identity)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_of_party ON request_party (identity, request);
CREATE INDEX request_awaiting ON request_party (identity, request) WHERE awaited;

CREATE TABLE access_grant (
    id          TEXT    NOT NULL PRIMARY KEY,
    version     INTEGER NOT NULL,
    body        TEXT    NOT NULL,
    holder      TEXT    NOT NULL,
    entitlement TEXT    NOT NULL,
    system      TEXT    NOT NULL,
    request     TEXT    NOT NULL,
    requester   TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    live        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_live_grant ON access_grant (holder, entitlement) WHERE live;
CREATE INDEX grant_of_holder ON access_grant (holder, entitlement, id);
CREATE INDEX grant_on_entitlement ON access_grant (entitlement, id);
CREATE INDEX grant_on_system ON access_grant (system, id);
CREATE INDEX grant_of_request ON access_grant (request, id);
CREATE INDEX grant_asked_by ON access_grant (requester, id);
CREATE INDEX grant_in_state ON access_grant (state, id);

-- The directory. The revision is the one that the row was last written in.
CREATE TABLE identity (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX identity_since ON identity (revision);
CREATE TABLE access_group (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX access_group_since ON access_group (revision);
CREATE TABLE system (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX system_since ON system (revision);
CREATE TABLE entitlement (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    system   TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX entitlement_since ON entitlement (revision);
CREATE TABLE record (
    id       TEXT    NOT NULL PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX record_since ON record (revision);

-- A handle stays with its identity for ever, also after it was taken from it.
CREATE TABLE handle (
    key       TEXT    NOT NULL PRIMARY KEY,
    identity  TEXT    NOT NULL,
    removed   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policy (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
CREATE TABLE house (
    id      TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;
CREATE TABLE policy_set (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;
CREATE TABLE content (
    digest TEXT NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

CREATE TABLE event (
    stream TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    hash   BLOB    NOT NULL,
    header TEXT    NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE event_value (
    stream      TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    value_group TEXT    NOT NULL,
    salt        BLOB    NOT NULL,
    bytes       BLOB    NOT NULL,
    PRIMARY KEY (stream, seq, value_group)
) STRICT, WITHOUT ROWID;

CREATE TABLE guard (
    key     TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE work (
    key         TEXT    NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    ref         TEXT    NOT NULL,
    due_at      INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    claimed_at  INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    leased_by   TEXT    NOT NULL,
    reported    INTEGER NOT NULL,
    parked_at   INTEGER NOT NULL,
    trouble     TEXT    NOT NULL
) STRICT;
CREATE INDEX work_due ON work (due_at, key) WHERE parked_at = 0;
CREATE INDEX work_parked ON work (parked_at, key) WHERE parked_at <> 0;

CREATE TABLE idempotency (
    caller TEXT    NOT NULL,
    route  TEXT    NOT NULL,
    key    TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    object TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (caller, route, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

-- One row for each key that a shelf ever held: a write moves the row to a new
-- position, and a delete leaves the row without its content. A follower wants
-- the last state of an item, so one row in its newest place is enough, and the
-- table does not grow with the number of writes.
CREATE TABLE shelf_item (
    shelf    TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    ref      TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    deleted  INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (shelf, key)
) STRICT;
CREATE INDEX shelf_item_ref ON shelf_item (shelf, ref, key);
CREATE UNIQUE INDEX shelf_item_position ON shelf_item (shelf, position);
