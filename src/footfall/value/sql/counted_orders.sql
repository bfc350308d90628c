-- Each order by its purchase, with the visit it belongs to (a part of trace.sql).
SELECT f.visit_person AS person, f.visit_id, f.visit_day, f.provider_id, f.message_id, f.order_day AS event_day,
       CAST(f.delay_days AS INTEGER) AS delay_days, {segment} AS segment
FROM orders f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
WHERE ($provider_id IS NULL OR f.provider_id = $provider_id)
  AND ($first_day IS NULL OR f.visit_day >= $first_day)
  AND ($last_day IS NULL OR f.visit_day <= $last_day)
  AND ($as_of IS NULL OR f.visit_day + CAST(f.delay_days AS INTEGER) <= $as_of)
