-- The visit of each purchase: the person's first (or last) at that provider within the window before it, by the clock and
-- by local days (which can be one more where clocks are put forward), and after the previous purchase there. Purchases
-- without such a visit are not in this table.
CREATE OR REPLACE TEMPORARY TABLE attributed AS
SELECT purchase, visit_id, person, visit_day, {columns}
FROM (
    SELECT p.purchase, v.visit_id, v.person, v.day AS visit_day, {visit_columns},
           row_number() OVER (
               PARTITION BY p.purchase ORDER BY v.start {direction}, v.visit_id {direction} NULLS FIRST
           ) AS place
    FROM purchases p
    JOIN visit_groups v
      ON v.person = p.person
     AND v.provider_id = p.provider_id
     AND v.start <= p.ts
     AND v.start >= p.ts - to_days(CAST($window_days AS INTEGER))
     AND p.day - v.day <= CAST($window_days AS INTEGER)
     AND (p.previous_ts IS NULL OR v.start > p.previous_ts)
) candidates
WHERE place = 1
