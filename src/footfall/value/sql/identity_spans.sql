-- Whose a shared device is, and when: from a user's first event until another's; the first user has all time before.
-- Of two users at the same time, the one of the greater message_id.
CREATE OR REPLACE TEMPORARY TABLE {when}_spans AS
WITH identified AS (
    SELECT e.visitor_id, e.ts, arg_max(coalesce(r.root, e.user_id), e.message_id) AS user_id
    FROM {source} e
    JOIN {when}_devices d ON d.visitor_id = e.visitor_id AND d.user_id <> d.other_user_id
    LEFT JOIN {when}_roots r ON r.user_id = e.user_id
    WHERE e.user_id IS NOT NULL
    GROUP BY e.visitor_id, e.ts
),
ordered AS (
    SELECT visitor_id, ts, user_id, lag(user_id) OVER (PARTITION BY visitor_id ORDER BY ts) AS previous_user_id
    FROM identified
)
SELECT visitor_id, user_id,
       CASE WHEN previous_user_id IS NOT NULL THEN ts END AS since,
       lead(ts) OVER (PARTITION BY visitor_id ORDER BY ts) AS until
FROM ordered
WHERE previous_user_id IS NULL OR previous_user_id <> user_id
