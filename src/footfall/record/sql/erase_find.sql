-- The table doomed: events of the users, of the devices that are theirs alone, and the anonymous events of shared
-- devices that belong to them: from a user's first event there until another's, and all before the first of any user.
-- Of two users at the same time, the one of the greater message_id.
CREATE OR REPLACE TEMPORARY TABLE doomed AS
WITH identified AS (
    SELECT visitor_id, ts, arg_max(user_id, message_id) AS user_id
    FROM events
    WHERE visitor_id IN (SELECT id FROM shared) AND user_id IS NOT NULL
    GROUP BY visitor_id, ts
),
spans AS (
    SELECT visitor_id, user_id,
           CASE WHEN lag(ts) OVER (PARTITION BY visitor_id ORDER BY ts) IS NOT NULL THEN ts END AS since,
           lead(ts) OVER (PARTITION BY visitor_id ORDER BY ts) AS until
    FROM identified
)
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
WHERE e.user_id IS NULL AND s.user_id IN (SELECT id FROM users)
