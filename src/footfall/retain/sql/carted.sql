-- One row for each person and provider with a cart: when last added to, the money put in on that day, the last purchase.
CREATE OR REPLACE TEMPORARY TABLE carted AS
WITH added AS (
    SELECT person, provider_id, day, max(ts) AS ts, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor
    FROM acts
    WHERE name IN ('add_to_cart', 'begin_checkout', 'add_payment_info') AND provider_id IS NOT NULL
      AND day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id, day
),
latest AS (
    SELECT person, provider_id, max(day) AS carted_day, max(ts) AS carted_ts, arg_max(amount_minor, day) AS amount_minor
    FROM added
    GROUP BY person, provider_id
),
bought AS (
    SELECT person, provider_id, max(ts) AS bought_ts
    FROM orders
    WHERE order_day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id
)
SELECT l.person, l.provider_id, coalesce(nullif(k.category, ''), nullif(t.category, ''), 'all') AS category,
       l.carted_day, l.carted_ts, CAST(l.amount_minor AS DOUBLE) / $unit AS cart_value, b.bought_ts
FROM latest l
LEFT JOIN bought b ON b.person = l.person AND b.provider_id = l.provider_id
LEFT JOIN known_providers k ON k.provider_id = l.provider_id
LEFT JOIN told_providers t ON t.provider_id = l.provider_id
