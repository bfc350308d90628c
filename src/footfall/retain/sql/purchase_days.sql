-- One row for each person and local day with a purchase that was not wholly given back; money is net of refunds.
CREATE OR REPLACE TEMPORARY TABLE purchase_days AS
WITH given_back AS (
    SELECT purchase, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor
    FROM refunds
    WHERE purchase IS NOT NULL AND refund_day <= CAST($as_of AS DATE)
    GROUP BY purchase
),
kept AS (
    SELECT o.person, o.order_day AS day, o.ts, o.provider_id,
           o.amount_minor - coalesce(g.amount_minor, 0) AS amount_minor
    FROM orders o
    LEFT JOIN given_back g ON g.purchase = o.purchase
    WHERE o.order_day <= CAST($as_of AS DATE) AND (g.purchase IS NULL OR g.amount_minor < o.amount_minor)
)
SELECT person, day, count(*) AS orders, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor,
       max(ts) AS last_ts, arg_max(provider_id, (ts, provider_id)) AS last_provider_id
FROM kept
GROUP BY person, day
