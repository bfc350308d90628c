-- Where touched events count, now and before, as far as that can matter to other events: not single visits after all that
-- is known, at pairs (person, provider) without orders or refunds. A key can be there several times.
CREATE OR REPLACE TEMPORARY TABLE touched_keys AS
SELECT person, provider_id, day, visit_id, order_id, name IN ({visit_events}) AS is_visit
FROM (SELECT * FROM touched_now UNION ALL SELECT * FROM touched_before) k
WHERE name IN ({visit_events}, {order_events}, {refund_events})
  AND (visit_id IS NOT NULL OR order_id IS NOT NULL OR day <= $last_old_day
       OR EXISTS (SELECT 1 FROM money_keys m WHERE m.person = k.person AND m.provider_id = k.provider_id))
