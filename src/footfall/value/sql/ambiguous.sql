-- Whether some visit has two first events that differ in a segment column, so that its message_ids decide. Only for
-- logs whose persons are devices.
WITH read AS (
    SELECT visitor_id, provider_id, day, ts, {columns}
    FROM reached
    WHERE name IN ({visit_events}) AND visit_id IS NULL
    UNION
    SELECT visitor_id, provider_id, day, ts, {columns}
    FROM touched_events e
    WHERE EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = e.visitor_id AND p.provider_id = e.provider_id)
      AND name IN ({visit_events}) AND visit_id IS NULL
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
