-- One row for each person and provider with a cart: when last added to, the cart's money on that day, the last purchase.
-- What is added has its own amount, the stages after it that of the whole cart: the largest of them is what it is worth.
CREATE OR REPLACE TEMPORARY TABLE carted AS
WITH added AS (
    SELECT person, provider_id, day, max(ts) AS ts,
           greatest(sum(amount_minor) FILTER (name = 'add_to_cart'),
                    max(amount_minor) FILTER (name <> 'add_to_cart')) AS amount_minor
    FROM acts
    WHERE name IN ('add_to_cart', 'begin_checkout', 'add_payment_info') AND provider_id IS NOT NULL
      AND day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id, day
),
latest AS (
    SELECT person, provider_id, max(day) AS carted_day, max(ts) AS carted_ts, arg_max_null(amount_minor, day) AS amount_minor
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
