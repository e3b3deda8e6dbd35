-- What an operator watches is found without reading what is well.

-- +goose Up
ALTER TABLE access_grant ADD COLUMN ending_since bigint NOT NULL DEFAULT 0;
UPDATE access_grant SET ending_since = round(extract(epoch FROM CAST(CAST(body AS jsonb) ->> 'end_at' AS timestamptz)) * 1000)
WHERE state = 'revoking';
CREATE INDEX grant_ending ON access_grant (ending_since) WHERE ending_since <> 0;

ALTER TABLE request ADD COLUMN overdue boolean NOT NULL DEFAULT false;
UPDATE request SET overdue = true
WHERE state IN ('active', 'closing')
AND (jsonb_path_exists(CAST(body AS jsonb), '$.evidence[*] ? (@.overdue == true && !exists(@.held))')
    OR jsonb_path_exists(CAST(body AS jsonb), '$.stages[*] ? (@.review == true && @.overdue == true && @.state == "open")'));
CREATE INDEX request_overdue ON request (id) WHERE overdue;

CREATE INDEX work_untold ON work (attempt) WHERE kind = 'notice' AND parked_at = 0 AND attempt > 0;
