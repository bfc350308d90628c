-- Pairs that a touched id ties to.
INSERT INTO touched_pairs
SELECT DISTINCT l.person, l.provider_id
FROM links l
JOIN touched_ids i ON i.kind = l.kind AND i.id = l.id AND i.place = l.place
WHERE l.provider_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = l.person AND p.provider_id = l.provider_id)
