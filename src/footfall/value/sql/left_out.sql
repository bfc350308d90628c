-- Events that nothing counts, by reason.
SELECT 'refund without order' AS reason, count(*) AS events FROM refunds WHERE visit_day IS NULL HAVING count(*) > 0
UNION ALL
SELECT 'order without provider' AS reason, count(*) AS events
FROM money
WHERE NOT is_refund AND provider_id IS NULL
HAVING count(*) > 0
