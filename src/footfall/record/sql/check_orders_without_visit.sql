-- Orders whose visitor (by device, else by user) has no visit event at that provider in the $window_days before.
-- found counts them all, orders all orders that have a provider.
WITH wanted AS (
    SELECT message_id, ts, day, provider_id, visitor_id, user_id,
           name IN ({order_events}) AS is_order,
           CASE WHEN name IN ({visit_events}) THEN ts END AS visit_ts
    FROM events
    WHERE provider_id IS NOT NULL AND (name IN ({order_events}) OR name IN ({visit_events}))
),
device AS (
    SELECT message_id, day, is_order,
           max(visit_ts) OVER (PARTITION BY provider_id, visitor_id ORDER BY ts) AS visited
    FROM wanted
    WHERE visitor_id IS NOT NULL
      AND (provider_id, visitor_id) IN (SELECT provider_id, visitor_id FROM wanted WHERE is_order AND visitor_id IS NOT NULL)
),
person AS (
    SELECT message_id, day, is_order,
           max(visit_ts) OVER (PARTITION BY provider_id, user_id ORDER BY ts) AS visited
    FROM wanted
    WHERE user_id IS NOT NULL
      AND (provider_id, user_id) IN (SELECT provider_id, user_id FROM wanted WHERE is_order AND user_id IS NOT NULL)
),
marked AS (
    SELECT w.message_id, w.day, w.provider_id,
           count(*) OVER () AS orders,
           coalesce(d.visited < w.ts - CAST($window_days AS INTEGER) * INTERVAL 1 DAY, TRUE)
           AND coalesce(p.visited < w.ts - CAST($window_days AS INTEGER) * INTERVAL 1 DAY, TRUE) AS alone
    FROM wanted w
    LEFT JOIN device d ON d.message_id = w.message_id AND d.day = w.day AND d.is_order
    LEFT JOIN person p ON p.message_id = w.message_id AND p.day = w.day AND p.is_order
    WHERE w.is_order
)
SELECT message_id, day, provider_id, orders, count(*) OVER () AS found
FROM marked
WHERE alone
ORDER BY day, message_id
LIMIT 5
