-- Where touched events count, now and before.
CREATE OR REPLACE TEMPORARY TABLE touched_keys AS
SELECT DISTINCT person, provider_id, day, visit_id, order_id, name IN ({visit_events}) AS is_visit
FROM (SELECT * FROM touched_now UNION ALL SELECT * FROM touched_before) k
WHERE name IN ({visit_events}, {order_events}, {refund_events})
