-- What ties pairs (person, provider) with orders or refunds together, beside the pair itself: a visit_id at a provider,
-- and an order_id that is refunded. Only the second matters where the log has no visit_id.
CREATE OR REPLACE TEMPORARY TABLE links AS
SELECT 'order' AS kind, m.order_id AS id, '' AS place, m.person, m.provider_id
FROM money_keys m
WHERE m.order_id IN (SELECT r.order_id FROM money_keys r WHERE r.is_refund AND r.order_id IS NOT NULL)
UNION
SELECT 'visit' AS kind, e.visit_id AS id, e.provider_id AS place, e.person, e.provider_id
FROM (
    SELECT person, provider_id, visit_id, name FROM person_events WHERE visit_id IS NOT NULL
    UNION ALL
    SELECT person, provider_id, visit_id, name FROM touched_before WHERE visit_id IS NOT NULL
) e
JOIN (SELECT DISTINCT person, provider_id FROM money_keys) m
  ON m.person = e.person AND m.provider_id = e.provider_id
WHERE e.name IN ({visit_events}, {order_events})
