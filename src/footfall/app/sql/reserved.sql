-- What a worker's logged decisions reserved, by day and provider.
SELECT day, provider_id, CAST(sum(reserved) AS BIGINT) AS reserved
FROM (
    SELECT day,
           unnest(from_json(choices, '["VARCHAR"]')) AS provider_id,
           unnest(from_json(reserved, '["BIGINT"]')) AS reserved
    FROM decisions
    WHERE worker_id = $worker AND repeat_of IS NULL AND mode = 'live'
) AS parts
GROUP BY day, provider_id
