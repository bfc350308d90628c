-- The key of each purchase's own visit (see visits.sql), where none is attributed: its visit_id, if that visit began at
-- most window_days before it; else visit_id is null, and it is the visit of its person, provider and day. A visit that no
-- visit event tells begins with the first purchase that names it.
CREATE OR REPLACE TEMPORARY TABLE own_keys AS
SELECT p.purchase, p.person, p.provider_id, p.day,
       CASE WHEN p.day - coalesce(v.day, p.first_named_day) <= CAST($window_days AS INTEGER) THEN p.visit_id END
           AS visit_id
FROM (
    SELECT *, min(day) OVER (PARTITION BY visit_id, provider_id) AS first_named_day FROM purchases
) p
LEFT JOIN attributed a ON a.purchase = p.purchase
LEFT JOIN visit_groups v ON v.visit_id = p.visit_id AND v.provider_id = p.provider_id
WHERE a.purchase IS NULL
