-- One row for each person and provider: the last visit, and the last purchase day there. recent_days: days with a visit in
-- the last 14.
CREATE OR REPLACE TEMPORARY TABLE visited AS
WITH bought AS (
    SELECT person, provider_id, max(order_day) AS bought_day
    FROM orders
    WHERE order_day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id
),
seen AS (
    SELECT person, provider_id, count(*) AS visits, max(day) AS last_day, max(start) AS last_ts,
           bit_count(bit_or(CASE WHEN day > CAST($as_of AS DATE) - 14 THEN 1 << (CAST($as_of AS DATE) - day) ELSE 0 END)) AS recent_days
    FROM visits
    WHERE day <= CAST($as_of AS DATE)
    GROUP BY person, provider_id
)
SELECT s.person, s.provider_id, coalesce(nullif(k.category, ''), nullif(t.category, ''), 'all') AS category,
       s.visits, s.last_day, s.last_ts, s.recent_days, b.bought_day
FROM seen s
LEFT JOIN bought b ON b.person = s.person AND b.provider_id = s.provider_id
LEFT JOIN known_providers k ON k.provider_id = s.provider_id
LEFT JOIN told_providers t ON t.provider_id = s.provider_id
