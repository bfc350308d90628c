-- The table doomed: events of the users, of the devices that are theirs alone, and the anonymous events of shared
-- devices while they were the person's (erase_spans.sql).
CREATE OR REPLACE TEMPORARY TABLE doomed AS
SELECT day, message_id
FROM events
WHERE user_id IN (SELECT id FROM users)
   OR previous_id IN (SELECT id FROM users)
   OR visitor_id IN (SELECT id FROM devices)
UNION
SELECT e.day, e.message_id
FROM events e
JOIN spans s ON s.visitor_id = e.visitor_id
            AND (s.since IS NULL OR e.ts >= s.since)
            AND (s.until IS NULL OR e.ts < s.until)
WHERE e.user_id IS NULL
