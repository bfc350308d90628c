-- Visits of a day and of the day after it, each with the first decision that it names, if any; a repeat stands for the
-- decision that it repeats. A visit as the facts count it, but by device: persons are not joined here.
CREATE OR REPLACE TEMPORARY TABLE decided_visits AS
SELECT v.provider_id,
       v.day,
       v.start,
       coalesce(d.repeat_of, v.decision_id) AS decision_id
FROM (
    SELECT provider_id,
           min(day) AS day,
           min(ts) AS start,
           arg_min(json_extract_string(properties, '$.decision_id'), (ts, message_id))
               FILTER (WHERE json_extract_string(properties, '$.decision_id') IS NOT NULL) AS decision_id
    FROM events
    WHERE day >= $day AND day <= $after AND provider_id IS NOT NULL AND name IN ({visit_events})
    GROUP BY provider_id,
             coalesce(visit_id, visitor_id, user_id, message_id),
             CASE WHEN visit_id IS NULL THEN day END
) v
LEFT JOIN (
    SELECT message_id, repeat_of FROM decisions WHERE day >= $before AND day <= $after AND repeat_of IS NOT NULL
) d ON v.decision_id = d.message_id
