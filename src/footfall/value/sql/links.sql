-- What ties pairs (person, provider) with orders or refunds together, beside the pair itself: a visit_id at a provider,
-- and an order_id that is refunded.
CREATE OR REPLACE TEMPORARY TABLE links AS
SELECT 'order' AS kind, m.order_id AS id, '' AS place, m.person, m.provider_id
FROM money_keys m
WHERE m.order_id IN (SELECT r.order_id FROM money_keys r WHERE r.is_refund AND r.order_id IS NOT NULL)
{links_by_visit}
