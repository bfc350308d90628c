-- Ties by a visit_id (a part of links.sql, where some event has one).
UNION
SELECT 'visit' AS kind, e.visit_id AS id, e.provider_id AS place, e.person, e.provider_id
FROM (
    SELECT person, provider_id, visit_id, name FROM person_events WHERE visit_id IS NOT NULL
    UNION ALL
    SELECT person, provider_id, visit_id, name FROM touched_before WHERE visit_id IS NOT NULL
) e
JOIN (SELECT DISTINCT person, provider_id FROM money_keys) m
  ON m.person = e.person AND m.provider_id = e.provider_id
WHERE e.name IN ({visit_events}, {order_events})
