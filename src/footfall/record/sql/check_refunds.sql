-- Refunds without their order, five of each kind: 'unnamed' has no order_id, 'unknown' one that no order has.
WITH orders AS (
    SELECT DISTINCT order_id
    FROM events
    WHERE name IN ({order_events}) AND order_id IS NOT NULL
),
numbered AS (
    SELECT CASE WHEN r.order_id IS NULL THEN 'unnamed' ELSE 'unknown' END AS kind,
           r.message_id, r.order_id,
           count(*) OVER (PARTITION BY r.order_id IS NULL) AS found,
           row_number() OVER (PARTITION BY r.order_id IS NULL ORDER BY r.ts, r.message_id) AS place
    FROM events r
    LEFT JOIN orders o ON o.order_id = r.order_id
    WHERE r.name IN ({refund_events}) AND o.order_id IS NULL
)
SELECT kind, message_id, order_id, found
FROM numbered
WHERE place <= 5
ORDER BY kind, place
