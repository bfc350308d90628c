-- Each refund that has an order, with the visit of that order (a part of trace.sql). provider_id and amount_minor are
-- what was counted: the provider of the order, and its amount where the refund tells none.
SELECT f.visit_person AS person, f.visit_id, f.visit_day, f.provider_id, f.message_id, f.refund_day AS event_day,
       f.amount_minor, CAST(f.refund_delay_days AS INTEGER) AS delay_days, {segment} AS segment
FROM refunds f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
WHERE f.visit_day IS NOT NULL
  AND ($provider_id IS NULL OR f.provider_id = $provider_id)
  AND ($first_day IS NULL OR f.visit_day >= $first_day)
  AND ($last_day IS NULL OR f.visit_day <= $last_day)
  AND ($as_of IS NULL
       OR f.visit_day + CAST(f.order_delay_days AS INTEGER) + CAST(f.refund_delay_days AS INTEGER) <= $as_of)
