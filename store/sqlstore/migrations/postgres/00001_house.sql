-- A noun is its canonical bytes (body), its version, and the columns that
-- follow from the noun and that queries and unique indexes need. Instants are
-- milliseconds since 1970; 0 is none.

-- +goose Up
CREATE TABLE request (
    id          text COLLATE "C" NOT NULL PRIMARY KEY,
    version     bigint NOT NULL,
    body        text NOT NULL,
    beneficiary text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL
);
CREATE INDEX request_of_beneficiary ON request (beneficiary, id);
CREATE INDEX request_in_state ON request (state, id);

CREATE TABLE request_entitlement (
    request     text COLLATE "C" NOT NULL REFERENCES request (id),
    entitlement text COLLATE "C" NOT NULL,
    holder      text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    open        boolean NOT NULL,
    PRIMARY KEY (request, entitlement)
);
CREATE UNIQUE INDEX one_open_request ON request_entitlement (holder, entitlement, type) WHERE open;
CREATE INDEX request_for_entitlement ON request_entitlement (entitlement, request);

CREATE TABLE request_party (
    request  text COLLATE "C" NOT NULL REFERENCES request (id),
    identity text COLLATE "C" NOT NULL,
    awaited  boolean NOT NULL,
    PRIMARY KEY (request, identity)
);
CREATE INDEX request_of_party ON request_party (identity, request);
CREATE INDEX request_awaiting ON request_party (identity, request) WHERE awaited;

CREATE TABLE access_grant (
    id          text COLLATE "C" NOT NULL PRIMARY KEY,
    version     bigint NOT NULL,
    body        text NOT NULL,
    holder      text COLLATE "C" NOT NULL,
    entitlement text COLLATE "C" NOT NULL,
    system      text COLLATE "C" NOT NULL,
    request     text COLLATE "C" NOT NULL,
    requester   text COLLATE "C" NOT NULL,
    state       text COLLATE "C" NOT NULL,
    live        boolean NOT NULL
);
CREATE UNIQUE INDEX one_live_grant ON access_grant (holder, entitlement) WHERE live;
CREATE INDEX grant_of_holder ON access_grant (holder, entitlement, id);
CREATE INDEX grant_on_entitlement ON access_grant (entitlement, id);
CREATE INDEX grant_on_system ON access_grant (system, id);
CREATE INDEX grant_of_request ON access_grant (request, id);
CREATE INDEX grant_asked_by ON access_grant (requester, id);
CREATE INDEX grant_in_state ON access_grant (state, id);

-- The directory. The revision is the one that the row was last written in.
CREATE TABLE identity (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX identity_since ON identity (revision);
CREATE TABLE access_group (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX access_group_since ON access_group (revision);
CREATE TABLE system (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX system_since ON system (revision);
CREATE TABLE entitlement (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    system   text COLLATE "C" NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX entitlement_since ON entitlement (revision);
CREATE TABLE record (
    id       text COLLATE "C" NOT NULL PRIMARY KEY,
    version  bigint NOT NULL,
    body     text NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX record_since ON record (revision);

-- A handle stays with its identity for ever, also after it was taken from it.
CREATE TABLE handle (
    key       text COLLATE "C" NOT NULL PRIMARY KEY,
    identity  text COLLATE "C" NOT NULL,
    removed   boolean NOT NULL
);

CREATE TABLE policy (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL
);
CREATE TABLE house (
    id      text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    body    text NOT NULL
);
CREATE TABLE policy_set (
    digest text COLLATE "C" NOT NULL PRIMARY KEY,
    bytes  bytea NOT NULL
);
CREATE TABLE content (
    digest text COLLATE "C" NOT NULL PRIMARY KEY,
    bytes  bytea NOT NULL
);

CREATE TABLE event (
    stream text COLLATE "C" NOT NULL,
    seq    bigint NOT NULL,
    hash   bytea NOT NULL,
    header text NOT NULL,
    PRIMARY KEY (stream, seq)
);
CREATE TABLE event_value (
    stream      text COLLATE "C" NOT NULL,
    seq         bigint NOT NULL,
    value_group text COLLATE "C" NOT NULL,
    salt        bytea NOT NULL,
    bytes       bytea NOT NULL,
    PRIMARY KEY (stream, seq, value_group)
);

CREATE TABLE guard (
    key     text COLLATE "C" NOT NULL PRIMARY KEY,
    version bigint NOT NULL
);

CREATE TABLE work (
    key         text COLLATE "C" NOT NULL PRIMARY KEY,
    kind        text COLLATE "C" NOT NULL,
    ref         text COLLATE "C" NOT NULL,
    due_at      bigint NOT NULL,
    attempt     bigint NOT NULL,
    claimed_at  bigint NOT NULL,
    lease_until bigint NOT NULL,
    leased_by   text COLLATE "C" NOT NULL,
    reported    boolean NOT NULL,
    parked_at   bigint NOT NULL,
    trouble     text NOT NULL
);
CREATE INDEX work_due ON work (due_at, key) WHERE parked_at = 0;
CREATE INDEX work_parked ON work (parked_at, key) WHERE parked_at <> 0;

CREATE TABLE idempotency (
    caller text COLLATE "C" NOT NULL,
    route  text COLLATE "C" NOT NULL,
    key    text COLLATE "C" NOT NULL,
    body   text NOT NULL,
    object text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    PRIMARY KEY (caller, route, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

-- One row for each key that a shelf ever held: a write moves the row to a new
-- position, and a delete leaves the row without its content. A follower wants
-- the last state of an item, so one row in its newest place is enough, and the
-- table does not grow with the number of writes.
CREATE TABLE shelf_item (
    shelf    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    ref      text COLLATE "C" NOT NULL,
    version  bigint NOT NULL,
    ends_at  bigint NOT NULL,
    body     bytea NOT NULL,
    deleted  boolean NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (shelf, key)
);
CREATE INDEX shelf_item_ref ON shelf_item (shelf, ref, key);
CREATE UNIQUE INDEX shelf_item_position ON shelf_item (shelf, position);

-- Refuses the transaction because something is not as the change expects it.
-- +goose StatementBegin
CREATE FUNCTION countersign_changed(key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CS001', MESSAGE = key;
END
$$;
-- +goose StatementEnd

-- Locks the guards, compares their versions and moves on those that have a next
-- one. The locks are advisory ones because their queue is fair: a commit that
-- moves a guard on waits for those that hold it shared and for no later one,
-- which shared row locks do not promise. The caller sorts the locks.
-- +goose StatementBegin
CREATE FUNCTION countersign_guard(locks bigint[], exclusive boolean[], keys text[], versions bigint[], nexts bigint[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    changed text;
BEGIN
    FOR i IN 1 .. array_length(locks, 1) LOOP
        IF exclusive[i] THEN
            PERFORM pg_advisory_xact_lock(locks[i]);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(locks[i]);
        END IF;
    END LOOP;
    -- Each statement of a volatile function sees what was committed before it
    -- began, so this one sees all that the locks waited for.
    SELECT expected.key INTO changed FROM unnest(keys, versions) AS expected (key, version)
    WHERE coalesce((SELECT guard.version FROM guard WHERE guard.key = expected.key), 0) <> expected.version
    LIMIT 1;
    IF FOUND THEN
        PERFORM countersign_changed(changed);
    END IF;
    INSERT INTO guard (key, version)
    SELECT moved.key, moved.next FROM unnest(keys, nexts) AS moved (key, next) WHERE moved.next > 0
    ON CONFLICT (key) DO UPDATE SET version = excluded.version;
END
$$;
-- +goose StatementEnd

-- Gives the next position of a shelf in this transaction. Positions order
-- transactions by their ids, 4096 positions for each; readers stop below the
-- oldest transaction that is still running, so nothing appears behind them.
-- +goose StatementBegin
CREATE FUNCTION countersign_position(name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint := pg_current_xact_id()::text::bigint << 12;
BEGIN
    RETURN (SELECT coalesce(max(position) + 1, first) FROM shelf_item
        WHERE shelf = name AND position >= first AND position < first + 4096);
END
$$;
-- +goose StatementEnd
