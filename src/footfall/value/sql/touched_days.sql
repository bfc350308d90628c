-- Touched visits without a visit_id, at providers where their person has no order: each stands alone.
CREATE OR REPLACE TEMPORARY TABLE touched_days AS
SELECT DISTINCT k.person, k.provider_id, k.day
FROM touched_keys k
WHERE k.is_visit AND k.visit_id IS NULL AND k.provider_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = k.person AND p.provider_id = k.provider_id)
