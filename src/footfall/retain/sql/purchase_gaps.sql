-- Days from each purchase day of a person in a category to the next one there; the last is open until the as-of day.
-- rhythm numbers the (person, category) from 0.
CREATE OR REPLACE TEMPORARY TABLE purchase_gaps AS
WITH bought AS (
    SELECT DISTINCT o.person, o.order_day AS day,
           coalesce(nullif(k.category, ''), nullif(t.category, ''), 'all') AS category
    FROM orders o
    LEFT JOIN known_providers k ON k.provider_id = o.provider_id
    LEFT JOIN told_providers t ON t.provider_id = o.provider_id
    JOIN purchase_days d ON d.person = o.person AND d.day = o.order_day
),
followed AS (
    SELECT person, category, day,
           lead(day) OVER (PARTITION BY person, category ORDER BY day) AS next_day,
           dense_rank() OVER (ORDER BY person, category) - 1 AS rhythm
    FROM bought
)
SELECT rhythm, person, category, day,
       CAST(coalesce(next_day, CAST($as_of AS DATE)) - day AS BIGINT) AS gap_days,
       CASE WHEN next_day IS NOT NULL THEN 1 ELSE 0 END AS closed
FROM followed
