-- Events, touched or not, that ties lead to from touched ones.
CREATE OR REPLACE TEMPORARY TABLE reached AS
-- pairs with orders or refunds, as a whole
SELECT {raw_columns}
FROM person_events e
JOIN touched_pairs p ON p.person = e.person AND p.provider_id = e.provider_id
WHERE e.name IN ({visit_events}, {order_events}, {refund_events})
UNION ALL
-- single visits without a visit_id
SELECT {raw_columns}
FROM person_events e
JOIN touched_days k ON k.person = e.person AND k.provider_id = e.provider_id AND k.day = e.day
WHERE e.name IN ({visit_events}) AND e.visit_id IS NULL
  AND e.day BETWEEN $first_day AND $last_day
UNION ALL
-- visits with a visit_id; of other persons than those above, if any
SELECT {raw_columns}
FROM person_events e
JOIN touched_ids i ON i.kind = 'visit' AND i.id = e.visit_id AND i.place = e.provider_id
WHERE e.name IN ({visit_events}) AND e.visit_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = e.person AND p.provider_id = e.provider_id)
UNION ALL
-- refunds that name an order, and no provider
SELECT {raw_columns}
FROM person_events e
JOIN touched_ids i ON i.kind = 'order' AND i.id = e.order_id
WHERE e.name IN ({refund_events}) AND e.provider_id IS NULL
