-- Visitors with at least $fewest orders at one provider within 7 days, and how many orders that provider has in all.
-- An order of several rows counts once; visitors in the table excluded are left out.
WITH placed AS (
    SELECT provider_id, coalesce(visitor_id, user_id) AS visitor_id, coalesce(order_id, message_id) AS order_key,
           min(ts) AS ts
    FROM events
    WHERE name IN ({order_events}) AND provider_id IS NOT NULL
      AND coalesce(visitor_id, user_id) IS NOT NULL
      AND coalesce(visitor_id, '') NOT IN (SELECT id FROM excluded)
      AND coalesce(user_id, '') NOT IN (SELECT id FROM excluded)
    GROUP BY provider_id, coalesce(visitor_id, user_id), coalesce(order_id, message_id)
),
weekly AS (
    SELECT provider_id, visitor_id,
           count(*) OVER (PARTITION BY provider_id, visitor_id ORDER BY ts
                          RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW) AS in_week
    FROM placed
),
visitors AS (
    SELECT provider_id, visitor_id, count(*) AS orders, max(in_week) AS in_week
    FROM weekly
    GROUP BY provider_id, visitor_id
),
shared AS (
    SELECT provider_id, visitor_id, orders, in_week,
           CAST(sum(orders) OVER (PARTITION BY provider_id) AS BIGINT) AS provider_orders
    FROM visitors
)
SELECT provider_id, visitor_id, orders, in_week, provider_orders
FROM shared
WHERE in_week >= CAST($fewest AS BIGINT)
ORDER BY provider_id, orders DESC, visitor_id
