-- The visit that a purchase was made in, where it is there: the visit of the purchase's own key (see own_keys.sql).
CREATE OR REPLACE TEMPORARY TABLE own_visits AS
SELECT p.purchase, v.visit_id, v.person, v.day AS visit_day, {visit_columns}
FROM own_keys p
JOIN visit_groups v
  ON v.provider_id = p.provider_id
 AND v.visit_id IS NOT DISTINCT FROM p.visit_id
 AND (CASE WHEN v.visit_id IS NULL THEN v.person END)
     IS NOT DISTINCT FROM (CASE WHEN p.visit_id IS NULL THEN p.person END)
 AND (CASE WHEN v.visit_id IS NULL THEN v.day END)
     IS NOT DISTINCT FROM (CASE WHEN p.visit_id IS NULL THEN p.day END)
WHERE v.person IS NOT NULL
