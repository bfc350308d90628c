-- Events that nothing counts, by reason.
SELECT 'refund without order' AS reason, count(*) AS events FROM refunds WHERE visit_day IS NULL
UNION ALL
SELECT 'order without provider' AS reason, count(*) AS events
FROM person_events
WHERE name IN ({order_events}) AND provider_id IS NULL
