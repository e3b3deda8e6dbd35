-- +goose Up
ALTER TABLE request ADD COLUMN excepted boolean NOT NULL DEFAULT false;
CREATE INDEX request_excepted ON request (id) WHERE excepted;
