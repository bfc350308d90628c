-- One row for each person and provider followed now, and for each person subscribed now (no provider where none was told),
-- by what was said until now.
CREATE OR REPLACE TEMPORARY TABLE fans AS
SELECT person, nullif(provider_id, '') AS provider_id, max(ts) AS since,
       bool_or(name = 'subscribe') AS subscribed
FROM (
    SELECT person, coalesce(provider_id, '') AS provider_id, name IN ('follow', 'unfollow') AS is_follow,
           arg_max(name, (ts, name)) AS name, max(ts) AS ts
    FROM acts
    WHERE name IN ('follow', 'unfollow', 'subscribe', 'unsubscribe') AND day <= CAST($as_of AS DATE)
      AND ts <= CAST($now AS TIMESTAMP)
    GROUP BY 1, 2, 3
)
WHERE name IN ('follow', 'subscribe')
GROUP BY person, provider_id
