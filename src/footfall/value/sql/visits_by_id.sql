-- Visits that have a visit_id (a part of visits.sql, where some have).
UNION ALL
SELECT visit_id,
       arg_min(person, (ts, message_id)) AS person,
       provider_id,
       arg_min(day, (ts, message_id)) AS day,
       min(ts) AS start,
       arg_min(message_id, (ts, message_id)) AS message_id,
       {first_columns}
FROM person_events
WHERE name IN ({visit_events}) AND provider_id IS NOT NULL AND visit_id IS NOT NULL
GROUP BY visit_id, provider_id
