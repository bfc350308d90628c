-- The last purchase of each person in each category, with its time and provider; latest: the person's last of all.
CREATE OR REPLACE TEMPORARY TABLE last_purchase AS
WITH bought AS (
    SELECT o.person, o.ts, o.provider_id, o.amount_minor,
           coalesce(nullif(k.category, ''), nullif(t.category, ''), 'all') AS category
    FROM orders o
    LEFT JOIN known_providers k ON k.provider_id = o.provider_id
    LEFT JOIN told_providers t ON t.provider_id = o.provider_id
    WHERE o.order_day <= CAST($as_of AS DATE)
)
SELECT person, category, max(ts) AS last_ts, arg_max(provider_id, (ts, provider_id)) AS last_provider_id,
       CAST(sum(amount_minor) AS DOUBLE) / count(*) / $unit AS order_value,
       max(ts) = max(max(ts)) OVER (PARTITION BY person) AS latest
FROM bought
GROUP BY person, category
