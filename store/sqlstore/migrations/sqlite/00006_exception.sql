-- +goose Up
ALTER TABLE request ADD COLUMN excepted INTEGER NOT NULL DEFAULT 0;
CREATE INDEX request_excepted ON request (id) WHERE excepted;
