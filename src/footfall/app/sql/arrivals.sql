-- First decisions of a day by segment of the plan ($segments; NULL: all others), and how many of those whose time is over
-- were followed by a visit.
SELECT s.segment,
       count(*) AS arrivals,
       count(*) FILTER (WHERE d.ts + to_seconds($reservation_s + $slack_s) <= $now) AS over,
       count(*) FILTER (WHERE d.ts + to_seconds($reservation_s + $slack_s) <= $now AND v.decision_id IS NOT NULL) AS kept
FROM decisions d
LEFT JOIN (SELECT unnest($segments) AS segment) s ON s.segment = d.segment
LEFT JOIN (
    SELECT DISTINCT json_extract_string(properties, '$.decision_id') AS decision_id
    FROM events
    WHERE name IN ({visit_events}) AND properties LIKE '%decision_id%'
) v ON v.decision_id = d.message_id
WHERE d.day = $day AND d.repeat_of IS NULL AND d.choices <> '[]'
GROUP BY s.segment
ORDER BY s.segment
