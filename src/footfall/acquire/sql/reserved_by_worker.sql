-- What the logged decisions of one worker reserved, by day and provider, millionths of a visit.
SELECT day, provider_id, CAST(sum(reserved) AS BIGINT) AS reserved
FROM (
    SELECT day,
           unnest(from_json(choices, '["VARCHAR"]')) AS provider_id,
           unnest(from_json(reserved, '["BIGINT"]')) AS reserved
    FROM decisions
    WHERE worker_id = $worker_id AND mode = 'live' AND repeat_of IS NULL
) c
GROUP BY day, provider_id
