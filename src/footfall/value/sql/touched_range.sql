-- The days of visits that can matter: the window on both sides of what is touched, and before each order whose refunds
-- or own visit can change. For refunds, those are orders with a touched order_id, and the orders of touched pairs that
-- have a refund without an order of its order_id, now or before, which goes to the latest order before it. For visits,
-- they are the orders that name a touched visit, and those of several days that name one visit, and may make it together.
WITH named AS (
    SELECT DISTINCT order_id FROM touched_keys WHERE order_id IS NOT NULL AND NOT is_visit
),
steady AS (
    SELECT DISTINCT o.order_id, o.provider_id
    FROM money_keys o
    WHERE NOT o.is_refund
      AND o.order_id IN (SELECT r.order_id FROM money_keys r WHERE r.is_refund AND r.order_id IS NOT NULL)
      AND NOT EXISTS (SELECT 1 FROM touched_events t WHERE t.message_id = o.message_id AND t.day = o.day)
),
loose AS (
    SELECT DISTINCT r.person, r.provider_id
    FROM money_keys r
    JOIN touched_pairs p ON p.person = r.person AND p.provider_id = r.provider_id
    WHERE r.is_refund
      AND NOT EXISTS (
          SELECT 1
          FROM steady o
          WHERE o.order_id = r.order_id AND o.provider_id = r.provider_id
      )
      AND NOT EXISTS (  -- a new refund of a new order was nowhere before
          SELECT 1
          FROM new_batches b
          JOIN money_keys o ON NOT o.is_refund AND o.is_now
          WHERE b.batch_id = r.batch_id AND o.order_id = r.order_id AND o.provider_id = r.provider_id
      )
),
tied AS (
    SELECT min(o.day) AS first_day, max(o.day) AS last_day
    FROM money_keys o
    JOIN touched_ids i ON i.kind = 'visit' AND i.id = o.visit_id AND i.place = o.provider_id
    WHERE NOT o.is_refund
    GROUP BY o.visit_id, o.provider_id
    HAVING min(o.day) < max(o.day)
        OR EXISTS (SELECT 1 FROM touched_keys k WHERE k.visit_id = o.visit_id AND k.provider_id = o.provider_id)
),
days AS (
    SELECT min(day) AS first_day, max(day) + CAST($window_days AS INTEGER) + 1 AS last_day FROM touched_keys
    UNION ALL
    SELECT min(o.day), max(o.day)
    FROM money_keys o JOIN named n ON n.order_id = o.order_id
    UNION ALL
    SELECT min(first_day), max(last_day) FROM tied
    UNION ALL
    SELECT min(o.day), max(o.day)
    FROM money_keys o JOIN loose l ON l.person = o.person AND l.provider_id = o.provider_id
)
SELECT min(first_day) - CAST($window_days AS INTEGER) - 1 AS first_day, max(last_day) AS last_day FROM days
