-- Whether some visit has two first events that differ in a segment column, so that its message_ids decide. Only for
-- logs whose persons are devices.
WITH read AS (
    SELECT visitor_id, provider_id, day, ts, {columns}
    FROM reached_pairs
    WHERE is_wanted
    UNION
    SELECT e.visitor_id, e.provider_id, e.day, e.ts, {event_columns}
    FROM touched_events e
    JOIN touched_pairs p ON p.person = e.visitor_id AND p.provider_id = e.provider_id
    WHERE e.name IN ({visit_events}) AND e.visit_id IS NULL
),
first AS (
    SELECT visitor_id, provider_id, day, min(ts) AS ts FROM read GROUP BY visitor_id, provider_id, day
)
SELECT EXISTS (
    SELECT 1
    FROM read r
    JOIN first f
      ON f.visitor_id = r.visitor_id AND f.provider_id = r.provider_id AND f.day = r.day AND f.ts = r.ts
    GROUP BY r.visitor_id, r.provider_id, r.day
    HAVING count(*) > 1
) AS ambiguous
