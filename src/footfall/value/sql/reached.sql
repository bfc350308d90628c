-- Orders and refunds, touched or not, that ties lead to from touched events.
CREATE OR REPLACE TEMPORARY TABLE reached AS
SELECT {raw_columns}
FROM money_keys e
JOIN touched_pairs p ON p.person = e.person AND p.provider_id = e.provider_id
WHERE e.is_now
UNION ALL
-- refunds that name an order, and no provider
SELECT {raw_columns}
FROM money_keys e
JOIN touched_ids i ON i.kind = 'order' AND i.id = e.order_id
WHERE e.is_now AND e.is_refund AND e.provider_id IS NULL
