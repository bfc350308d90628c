-- What became of a day's reservations and visits, millionths of a visit by provider. A visit in time keeps its choice's
-- reservation, and what a whole visit takes beyond it counts as organic, as do late visits and those without a
-- decision. A choice keeps one visit; further visits of the same choice are organic.
SELECT provider_id,
       CAST(sum(committed) AS BIGINT) AS committed,
       CAST(sum(outstanding) AS BIGINT) AS outstanding,
       CAST(sum(released) AS BIGINT) AS released,
       CAST(sum(organic) AS BIGINT) AS organic
FROM (
    SELECT c.provider_id,
           CASE WHEN k.message_id IS NOT NULL THEN c.reserved ELSE 0 END AS committed,
           CASE WHEN k.message_id IS NULL AND c.ts >= $expired THEN c.reserved ELSE 0 END AS outstanding,
           CASE WHEN k.message_id IS NULL AND c.ts < $expired THEN c.reserved ELSE 0 END AS released,
           CASE WHEN k.message_id IS NOT NULL THEN $visit - c.reserved ELSE 0 END AS organic
    FROM live_choices c
    LEFT JOIN kept_choices k ON c.message_id = k.message_id AND c.provider_id = k.provider_id
    WHERE c.day = $day
    UNION ALL
    SELECT v.provider_id, 0 AS committed, 0 AS outstanding, 0 AS released,
           ($visit * (v.visits - CASE WHEN k.message_id IS NULL THEN 0 ELSE 1 END)) AS organic
    FROM (
        SELECT provider_id, decision_id, count(*) AS visits
        FROM decided_visits
        WHERE day = $day
        GROUP BY provider_id, decision_id
    ) v
    LEFT JOIN kept_choices k
           ON v.decision_id = k.message_id AND v.provider_id = k.provider_id AND k.visit_day = $day
) f
GROUP BY provider_id
