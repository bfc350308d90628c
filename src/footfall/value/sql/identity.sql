-- The events that count, each with its person: the identified user (aliases merged to one root); an anonymous event is
-- of the latest user identified on its device before it, else of the first after it, else of the device itself. Letters
-- in front keep ids of users, devices, visits and messages apart.
CREATE OR REPLACE TEMPORARY VIEW {view} AS
SELECT *
FROM (
    SELECT CASE WHEN e.user_id IS NOT NULL THEN 'u:' || coalesce(r.root, e.user_id)
                WHEN d.user_id IS NOT NULL THEN 'u:' || d.user_id
                WHEN s.user_id IS NOT NULL THEN 'u:' || s.user_id
                WHEN e.visitor_id IS NOT NULL THEN 'd:' || e.visitor_id
                WHEN e.visit_id IS NOT NULL THEN 'v:' || e.visit_id
                ELSE 'm:' || e.message_id END AS person,
           e.message_id, e.ts, e.day, e.name, e.visitor_id, e.user_id, e.visit_id,
           e.provider_id, e.order_id, e.amount_minor, e.batch_id, {event_columns}
    FROM {source} e
    LEFT JOIN {when}_roots r ON r.user_id = e.user_id
    LEFT JOIN {when}_devices d
           ON d.visitor_id = CASE WHEN e.user_id IS NULL THEN e.visitor_id END
          AND d.user_id = d.other_user_id
    LEFT JOIN {when}_spans s
           ON s.visitor_id = CASE WHEN e.user_id IS NULL THEN e.visitor_id END
          AND (s.since IS NULL OR e.ts >= s.since)
          AND (s.until IS NULL OR e.ts < s.until)
) e
{unless_excluded}
