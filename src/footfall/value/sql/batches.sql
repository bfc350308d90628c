-- Batches that have events on some days: those events, their first and last day.
SELECT batch_id, count(*) AS events, min(day) AS first_day, max(day) AS last_day
FROM events
WHERE day BETWEEN $first_day AND $last_day
GROUP BY batch_id
