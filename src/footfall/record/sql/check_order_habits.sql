-- How orders were placed, for each provider by the visitors in the table heavy (true) and by all others (false):
-- orders, visitors, the commonest amount, the commonest gap in whole seconds between one order and the next at the
-- provider, and how many were placed at most $quick_s seconds after the first event since the order before.
WITH placed AS (
    SELECT provider_id, coalesce(visitor_id, user_id) AS visitor_id, coalesce(order_id, message_id) AS order_key,
           min(ts) AS ts, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor
    FROM events
    WHERE name IN ({order_events}) AND provider_id IS NOT NULL
      AND coalesce(visitor_id, user_id) IS NOT NULL
      AND coalesce(visitor_id, '') NOT IN (SELECT id FROM excluded)
      AND coalesce(user_id, '') NOT IN (SELECT id FROM excluded)
    GROUP BY provider_id, coalesce(visitor_id, user_id), coalesce(order_id, message_id)
),
buyers AS (
    SELECT DISTINCT provider_id, visitor_id FROM placed
),
steps AS (
    SELECT provider_id, visitor_id, ts, 1 AS is_order, order_key FROM placed
    UNION ALL
    SELECT b.provider_id, b.visitor_id, e.ts, 0 AS is_order, NULL AS order_key
    FROM events e
    JOIN buyers b ON b.provider_id = e.provider_id AND b.visitor_id = coalesce(e.visitor_id, e.user_id)
    WHERE e.name NOT IN ({order_events}) AND e.name NOT IN ({refund_events})
),
turns AS (
    SELECT provider_id, visitor_id, ts, is_order, order_key,
           coalesce(sum(is_order) OVER (PARTITION BY provider_id, visitor_id ORDER BY ts, is_order, order_key
                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS turn
    FROM steps
),
dwelt AS (
    SELECT provider_id, visitor_id, max(order_key) AS order_key,
           max(CASE WHEN is_order = 1 THEN ts END) <= min(ts) + CAST($quick_s AS INTEGER) * INTERVAL 1 SECOND AS quick
    FROM turns
    GROUP BY provider_id, visitor_id, turn
    HAVING max(is_order) = 1
),
told AS (
    SELECT p.provider_id, h.visitor_id IS NOT NULL AS heavy, p.visitor_id, p.amount_minor, d.quick,
           date_diff('second', lag(p.ts) OVER (PARTITION BY p.provider_id, h.visitor_id IS NOT NULL
                                               ORDER BY p.ts, p.order_key), p.ts) AS gap_s
    FROM placed p
    JOIN dwelt d ON d.provider_id = p.provider_id AND d.visitor_id = p.visitor_id AND d.order_key = p.order_key
    LEFT JOIN heavy h ON h.provider_id = p.provider_id AND h.visitor_id = p.visitor_id
),
amounts AS (
    SELECT provider_id, heavy, max(times) AS same_amount
    FROM (SELECT provider_id, heavy, amount_minor, count(amount_minor) AS times
          FROM told GROUP BY provider_id, heavy, amount_minor) AS counted
    GROUP BY provider_id, heavy
),
gaps AS (
    SELECT provider_id, heavy, max(times) AS same_gap
    FROM (SELECT provider_id, heavy, gap_s, count(gap_s) AS times
          FROM told GROUP BY provider_id, heavy, gap_s) AS counted
    GROUP BY provider_id, heavy
),
totals AS (
    SELECT provider_id, heavy, count(*) AS orders, count(DISTINCT visitor_id) AS visitors,
           count(CASE WHEN quick THEN 1 END) AS quick
    FROM told
    GROUP BY provider_id, heavy
)
SELECT t.provider_id, t.heavy, t.orders, t.visitors, a.same_amount, g.same_gap, t.quick
FROM totals t
JOIN amounts a ON a.provider_id = t.provider_id AND a.heavy = t.heavy
JOIN gaps g ON g.provider_id = t.provider_id AND g.heavy = t.heavy
ORDER BY t.provider_id, t.heavy
