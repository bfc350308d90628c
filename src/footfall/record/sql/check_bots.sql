-- Visitors with more than $most events in one hour, the busiest first; those in the table excluded are left out.
WITH hours AS (
    SELECT coalesce(visitor_id, user_id) AS visitor_id, date_trunc('hour', ts) AS hour, count(*) AS events
    FROM events
    WHERE coalesce(visitor_id, user_id) IS NOT NULL
      AND coalesce(visitor_id, '') NOT IN (SELECT id FROM excluded)
      AND coalesce(user_id, '') NOT IN (SELECT id FROM excluded)
    GROUP BY coalesce(visitor_id, user_id), date_trunc('hour', ts)
    HAVING count(*) > CAST($most AS BIGINT)
)
SELECT visitor_id, max(events) AS busiest, count(*) AS hours, count(*) OVER () AS found
FROM hours
GROUP BY visitor_id
ORDER BY busiest DESC, visitor_id
LIMIT 50
