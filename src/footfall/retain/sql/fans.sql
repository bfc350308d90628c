-- One row for each person and provider followed now, and for each person subscribed now (no provider where none was told).
CREATE OR REPLACE TEMPORARY TABLE fans AS
SELECT person, nullif(provider_id, '') AS provider_id, max(ts) AS since, max(day) AS since_day,
       bool_or(name = 'subscribe') AS subscribed
FROM follows
WHERE name IN ('follow', 'subscribe')
GROUP BY person, provider_id
