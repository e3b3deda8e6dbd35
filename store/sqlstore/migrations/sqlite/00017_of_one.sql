-- Nothing here: SQLite looks for what is of one system by the index that says so.

-- +goose Up
SELECT 1;
