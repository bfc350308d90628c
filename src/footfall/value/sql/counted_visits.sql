-- Each visit by its first event; one that a purchase made, by its first purchase (a part of trace.sql).
SELECT f.person, f.visit_id, f.day AS visit_day, f.provider_id, f.message_id, f.event_day,
       CAST(NULL AS INTEGER) AS delay_days, {segment} AS segment
FROM (
    SELECT person, visit_id, day, provider_id, message_id, day AS event_day, {columns} FROM visits
    UNION ALL
    SELECT m.person, m.visit_id, m.day, m.provider_id, p.message_id, p.day AS event_day, {made_trace_columns}
    FROM made_visits m
    JOIN purchases p ON p.purchase = m.purchase
) f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
WHERE ($provider_id IS NULL OR f.provider_id = $provider_id)
  AND ($first_day IS NULL OR f.day >= $first_day)
  AND ($last_day IS NULL OR f.day <= $last_day)
  AND ($as_of IS NULL OR f.day <= $as_of)
