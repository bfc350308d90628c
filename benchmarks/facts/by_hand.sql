-- What facts count, written by hand as one statement for this one log (no visit_id, no users, segment = channel, first
-- visit within 30 days): the peer of the benchmark. Its rows are those of FactTables, table after table.
WITH events_needed AS (
    SELECT visitor_id, provider_id, day, ts, message_id, name, channel, order_id, amount_minor FROM events
),
visits AS MATERIALIZED (  -- at 50 M events a quarter faster than reading the log twice
    SELECT visitor_id, provider_id, day, min(ts) AS start, arg_min_null(channel, (ts, message_id)) AS channel
    FROM events_needed
    WHERE name IN ('page_view', 'view_item', 'add_to_cart')
    GROUP BY visitor_id, provider_id, day
),
purchases AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY ts, message_id) AS n,
           lag(ts) OVER (PARTITION BY visitor_id, provider_id ORDER BY ts, message_id) AS previous_ts
    FROM events_needed
    WHERE name = 'purchase'
),
near AS MATERIALIZED (
    SELECT v.* FROM visits v SEMI JOIN purchases p ON p.visitor_id = v.visitor_id AND p.provider_id = v.provider_id
),
attributed AS (
    SELECT p.n, min(v.start) AS start, arg_min(v.day, v.start) AS day, arg_min_null(v.channel, v.start) AS channel
    FROM purchases p
    JOIN near v ON v.visitor_id = p.visitor_id AND v.provider_id = p.provider_id
               AND v.start BETWEEN p.ts - INTERVAL 30 DAY AND p.ts
               AND (p.previous_ts IS NULL OR v.start > p.previous_ts)
    GROUP BY p.n
),
orders AS MATERIALIZED (
    SELECT p.n, p.visitor_id, p.provider_id, p.ts, p.day AS order_day, p.order_id, p.amount_minor,
           coalesce(a.day, p.day) AS day,
           CASE WHEN a.n IS NOT NULL THEN a.channel WHEN o.start IS NOT NULL THEN o.channel
                ELSE first_value(p.channel) OVER (
                    PARTITION BY p.visitor_id, p.provider_id, p.day, a.n IS NULL ORDER BY p.n) END AS channel,
           a.n IS NULL AND o.start IS NULL AS makes_visit
    FROM purchases p
    LEFT JOIN attributed a ON a.n = p.n
    LEFT JOIN near o ON o.visitor_id = p.visitor_id AND o.provider_id = p.provider_id AND o.day = p.day
),
refunds AS (
    SELECT r.message_id, any_value(r.day) AS refund_day, any_value(r.amount_minor) AS amount_minor,
           coalesce(min(o.n) FILTER (WHERE o.order_id = r.order_id), max(o.n)) AS n
    FROM events_needed r
    JOIN orders o ON o.provider_id = r.provider_id
                 AND (o.order_id = r.order_id OR (o.visitor_id = r.visitor_id AND o.ts <= r.ts))
    WHERE r.name = 'refund'
    GROUP BY r.message_id
)
SELECT 'visits' AS kind, day, coalesce(channel, '(none)') AS segment, provider_id,
       NULL AS delay_days, NULL AS refund_delay_days, count(*) AS n, NULL AS amount_minor, NULL AS amount_sq
FROM (
    SELECT day, channel, provider_id FROM visits
    UNION ALL
    SELECT day, channel, provider_id FROM orders WHERE makes_visit
    GROUP BY day, channel, provider_id, visitor_id
)
GROUP BY ALL
UNION ALL
SELECT 'orders', day, coalesce(channel, '(none)'), provider_id, order_day - day, NULL, count(*),
       CAST(sum(amount_minor) AS DECIMAL(38, 0)),
       CAST(sum(CAST(amount_minor AS HUGEINT) * amount_minor) AS DECIMAL(38, 0))
FROM orders
GROUP BY ALL
UNION ALL
SELECT 'refunds', o.day, coalesce(o.channel, '(none)'), o.provider_id, o.order_day - o.day, r.refund_day - o.order_day,
       count(*), CAST(sum(r.amount_minor) AS DECIMAL(38, 0)), NULL
FROM refunds r JOIN orders o ON o.n = r.n
GROUP BY ALL
UNION ALL
SELECT 'providers', min(day), arg_max(category, ts), provider_id, NULL, NULL, NULL, NULL, NULL
FROM events
WHERE provider_id IS NOT NULL
GROUP BY provider_id
