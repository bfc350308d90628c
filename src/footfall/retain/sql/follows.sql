-- The newest word, until now, of each person on each provider's fans ('': on the whole place): of follow and unfollow, and of
-- subscribe and unsubscribe; of two at once, the leaving.
CREATE OR REPLACE TEMPORARY TABLE follows AS
SELECT person, coalesce(provider_id, '') AS provider_id, name IN ('follow', 'unfollow') AS is_follow,
       arg_max(name, (ts, name)) AS name, max(ts) AS ts, max(day) AS day
FROM acts
WHERE name IN ('follow', 'unfollow', 'subscribe', 'unsubscribe') AND day <= CAST($as_of AS DATE)
  AND ts <= CAST($now AS TIMESTAMP)
GROUP BY 1, 2, 3
