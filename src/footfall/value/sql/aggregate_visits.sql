-- Visits by day, segment and provider: those of the log, and those that purchases made.
SELECT f.day, {segment} AS segment, f.provider_id, CAST(sum(f.visits) AS BIGINT) AS visits
FROM (
    SELECT day, provider_id, {columns}, visits FROM visit_groups
    UNION ALL
    SELECT day, provider_id, {columns}, 1 AS visits FROM made_visits
) f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
GROUP BY 1, 2, 3
