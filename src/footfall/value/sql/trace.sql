-- The event behind each row of counted_visits.sql, counted_orders.sql or counted_refunds.sql: as many rows as counted.
WITH counted AS (
{counted}
)
SELECT c.person,
       coalesce(c.visit_id, c.person || ' ' || CAST(c.visit_day AS VARCHAR)) AS visit,
       c.visit_day,
       c.segment,
       c.delay_days,
       {log_columns}
FROM counted c
JOIN events e ON e.message_id = c.message_id AND e.day = c.event_day
WHERE $segment IS NULL OR c.segment = $segment
ORDER BY c.visit_day, e.ts, e.message_id
LIMIT $most
