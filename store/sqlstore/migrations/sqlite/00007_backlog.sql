-- What an operator watches is found without reading what is well.

-- +goose Up
ALTER TABLE access_grant ADD COLUMN ending_since INTEGER NOT NULL DEFAULT 0;
UPDATE access_grant SET ending_since = CAST(strftime('%s', body ->> '$.end_at') AS INTEGER) * 1000 + CAST(substr(body ->> '$.end_at', 21, 3) AS INTEGER)
WHERE state = 'revoking';
CREATE INDEX grant_ending ON access_grant (ending_since) WHERE ending_since <> 0;

ALTER TABLE request ADD COLUMN overdue INTEGER NOT NULL DEFAULT 0;
UPDATE request SET overdue = 1
WHERE state IN ('active', 'closing')
AND (EXISTS (SELECT 1 FROM json_each(request.body, '$.evidence') AS slot
        WHERE slot.value ->> '$.overdue' AND slot.value ->> '$.held' IS NULL)
    OR EXISTS (SELECT 1 FROM json_each(request.body, '$.stages') AS stage
        WHERE stage.value ->> '$.review' AND stage.value ->> '$.overdue' AND stage.value ->> '$.state' = 'open'));
CREATE INDEX request_overdue ON request (id) WHERE overdue;

CREATE INDEX work_untold ON work (attempt) WHERE kind = 'notice' AND parked_at = 0 AND attempt > 0;
