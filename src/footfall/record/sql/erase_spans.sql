-- The table spans: when a shared device was the person's, from a user's first event there until another's, and all before
-- the first of any user. Of two users at the same time, the one of the greater message_id.
CREATE OR REPLACE TEMPORARY TABLE spans AS
WITH identified AS (
    SELECT visitor_id, ts, arg_max(user_id, message_id) AS user_id
    FROM events
    WHERE visitor_id IN (SELECT id FROM shared) AND user_id IS NOT NULL
    GROUP BY visitor_id, ts
)
SELECT visitor_id, since, until
FROM (
    SELECT visitor_id, user_id,
           CASE WHEN lag(ts) OVER (PARTITION BY visitor_id ORDER BY ts) IS NOT NULL THEN ts END AS since,
           lead(ts) OVER (PARTITION BY visitor_id ORDER BY ts) AS until
    FROM identified
) AS owned
WHERE user_id IN (SELECT id FROM users)
