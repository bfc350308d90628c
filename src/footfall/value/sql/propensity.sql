-- Visits that were drawn with a logged propensity, by segment and provider: what self-normalised weighting needs.
-- weight = sum of 1 / propensity, weight_sq = sum of its squares, rewarded = sum of 1 / propensity over rewarded visits.
SELECT {segment} AS segment,
       f.provider_id,
       count(*) AS visits,
       count(r.visit_id) AS orders,
       sum(1 / f.propensity) AS weight,
       sum(1 / (f.propensity * f.propensity)) AS weight_sq,
       coalesce(sum(CASE WHEN r.visit_id IS NOT NULL THEN 1 / f.propensity END), 0) AS rewarded
FROM events f
LEFT JOIN (
    SELECT DISTINCT visit_id, provider_id
    FROM events
    WHERE name IN ({order_events}) AND visit_id IS NOT NULL AND provider_id IS NOT NULL AND day <= $as_of
) r ON r.visit_id = f.visit_id AND r.provider_id = f.provider_id
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
WHERE f.name IN ({visit_events}) AND f.provider_id IS NOT NULL AND f.visit_id IS NOT NULL
  AND f.propensity > 0 AND f.day <= $as_of
GROUP BY 1, 2
ORDER BY 1, 2
