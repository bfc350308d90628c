-- Visits counted in one pass: those that a purchase could belong to stay single rows, with person and start; all the
-- others, which are nearly all, are counted by day, provider and segment columns, and their person is null.
CREATE OR REPLACE TEMPORARY TABLE visit_groups AS
SELECT count(*) AS visits, provider_id, day, {columns}, visit_id, person, start
FROM (
    SELECT v.provider_id, v.day, {columns},
           CASE WHEN p.person IS NOT NULL OR w.visit_id IS NOT NULL THEN v.visit_id END AS visit_id,
           CASE WHEN p.person IS NOT NULL OR w.visit_id IS NOT NULL THEN v.person END AS person,
           CASE WHEN p.person IS NOT NULL OR w.visit_id IS NOT NULL THEN v.start END AS start
    FROM visits v
    LEFT JOIN (SELECT DISTINCT person, provider_id FROM purchases) p
           ON v.person = p.person AND v.provider_id = p.provider_id
    LEFT JOIN (SELECT DISTINCT visit_id, provider_id FROM purchases WHERE visit_id IS NOT NULL) w
           ON v.visit_id = w.visit_id AND v.provider_id = w.provider_id
) f
GROUP BY provider_id, day, {columns}, visit_id, person, start
