-- One row for each person and provider with a cart: when last added to, the cart's money, the last purchase. What counts is
-- the last day on which something was put in, and what was taken out from then on. What is added or taken out has its own
-- amount, the stages after it that of the whole cart: the largest cart that is still left of them is what it is worth.
-- Where something was taken out and an amount is missing, its worth is unknown; it is empty when nothing is left, or as often
-- taken out as put in.
CREATE OR REPLACE TEMPORARY TABLE carted AS
WITH told AS (
    SELECT person, provider_id, day, ts, name, amount_minor,
           max(day) FILTER (name <> 'remove_from_cart') OVER (PARTITION BY person, provider_id) AS carted_day
    FROM acts
    WHERE name IN ('add_to_cart', 'remove_from_cart', 'begin_checkout', 'add_payment_info') AND provider_id IS NOT NULL
      AND day <= CAST($as_of AS DATE)
),
followed AS (
    SELECT *,
           sum(CASE name WHEN 'add_to_cart' THEN amount_minor WHEN 'remove_from_cart' THEN -abs(amount_minor) END) OVER later AS money,
           sum(CASE name WHEN 'add_to_cart' THEN 1 WHEN 'remove_from_cart' THEN -1 END) OVER later AS times
    FROM told
    WHERE day >= carted_day
    WINDOW later AS (PARTITION BY person, provider_id ORDER BY ts, name NOT IN ('add_to_cart', 'remove_from_cart'), name
                     ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
),
latest AS (
    SELECT person, provider_id, max(carted_day) AS carted_day, max(ts) FILTER (name <> 'remove_from_cart') AS carted_ts,
           max(amount_minor + coalesce(money, 0)) FILTER (name <> 'remove_from_cart') AS amount_minor,
           max(1 + coalesce(times, 0)) FILTER (name = 'add_to_cart') AS times,
           bool_or(name = 'remove_from_cart') AS taken_out,
           bool_or(name IN ('add_to_cart', 'remove_from_cart') AND amount_minor IS NULL) AS untold
    FROM followed
    GROUP BY person, provider_id
),
bought AS (
    SELECT person, provider_id, max(ts) AS bought_ts
    FROM orders
    WHERE order_day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id
)
SELECT l.person, l.provider_id, coalesce(nullif(k.category, ''), nullif(t.category, ''), 'all') AS category,
       l.carted_day, l.carted_ts,
       CASE WHEN NOT (l.taken_out AND l.untold) THEN CAST(l.amount_minor AS DOUBLE) / $unit END AS cart_value, b.bought_ts
FROM latest l
LEFT JOIN bought b ON b.person = l.person AND b.provider_id = l.provider_id
LEFT JOIN known_providers k ON k.provider_id = l.provider_id
LEFT JOIN told_providers t ON t.provider_id = l.provider_id
WHERE NOT l.taken_out OR coalesce(CASE WHEN l.untold THEN l.times ELSE l.amount_minor END > 0, TRUE)
