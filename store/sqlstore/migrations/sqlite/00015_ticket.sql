-- A ticket of somebody else's system opens one request, for ever.

-- +goose Up
ALTER TABLE request ADD COLUMN ticket TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX one_ticket ON request (ticket) WHERE ticket <> '';
CREATE INDEX work_unwritten ON work (attempt) WHERE kind = 'ticket' AND parked_at = 0 AND attempt > 0;
