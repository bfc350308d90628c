-- What became of a day's reservations and visits, by provider, in millionths of a visit.
-- A visit to a chosen provider that names its decision (property decision_id; a sticky repeat stands for the decision
-- it repeats) and came in time keeps that choice's reservation. What no reservation held of a visit is organic. Told are
-- the providers of which the ledger knows ($known) and those of which something was reserved: whoever else is in the log
-- has no capacity to be held, and there is no end of them.
WITH drawn AS (
    SELECT message_id AS decision_id, ts, day,
           unnest(from_json(choices, '["VARCHAR"]')) AS provider_id,
           unnest(from_json(reserved, '["BIGINT"]')) AS reserved
    FROM decisions
    WHERE repeat_of IS NULL AND mode = 'live'
),
visits AS (
    SELECT provider_id, min(day) AS day, min(ts) AS ts,
           min(CASE WHEN properties LIKE '%decision_id%'
                    THEN json_extract_string(properties, '$.decision_id') END) AS decision_id
    FROM events
    WHERE name IN ({visit_events}) AND provider_id IS NOT NULL
    GROUP BY provider_id, visit_id,
             CASE WHEN visit_id IS NULL THEN coalesce(visitor_id, user_id) END,
             CASE WHEN visit_id IS NULL THEN day END
),
named AS (
    SELECT coalesce(d.repeat_of, d.message_id) AS decision_id, v.provider_id, min(v.ts) AS ts, min(v.day) AS day
    FROM visits v
    JOIN decisions d ON d.message_id = v.decision_id
    GROUP BY coalesce(d.repeat_of, d.message_id), v.provider_id
),
reservations AS (
    SELECT d.day, d.provider_id, d.reserved, n.day AS visit_day,
           CASE WHEN n.ts <= d.ts + to_seconds($reservation_s) THEN 'committed'
                WHEN $now < d.ts + to_seconds($reservation_s + $slack_s) THEN 'outstanding'
                ELSE 'released' END AS became
    FROM drawn d
    LEFT JOIN named n ON n.decision_id = d.decision_id AND n.provider_id = d.provider_id
),
held AS (
    SELECT provider_id,
           sum(CASE WHEN day = $day AND became = 'committed' THEN reserved ELSE 0 END) AS committed,
           sum(CASE WHEN day = $day AND became = 'outstanding' THEN reserved ELSE 0 END) AS outstanding,
           sum(CASE WHEN day = $day AND became = 'released' THEN reserved ELSE 0 END) AS released,
           sum(CASE WHEN visit_day = $day AND became = 'committed' THEN reserved ELSE 0 END) AS of_visits
    FROM reservations
    GROUP BY provider_id
),
came AS (
    SELECT provider_id, 1000000 * count(*) AS parts
    FROM visits
    WHERE day = $day
    GROUP BY provider_id
)
SELECT coalesce(h.provider_id, c.provider_id) AS provider_id,
       CAST(coalesce(h.committed, 0) AS BIGINT) AS committed,
       CAST(coalesce(h.outstanding, 0) AS BIGINT) AS outstanding,
       CAST(coalesce(h.released, 0) AS BIGINT) AS released,
       CAST(greatest(coalesce(c.parts, 0) - coalesce(h.of_visits, 0), 0) AS BIGINT) AS organic
FROM held h
FULL JOIN came c ON c.provider_id = h.provider_id
WHERE h.committed + h.outstanding + h.released > 0
   OR coalesce(h.provider_id, c.provider_id) IN (SELECT unnest($known))
ORDER BY 1
