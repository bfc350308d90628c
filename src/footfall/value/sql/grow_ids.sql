-- Ids that a touched pair ties to.
INSERT INTO touched_ids
SELECT DISTINCT l.kind, l.id, l.place
FROM links l
JOIN touched_pairs p ON p.person = l.person AND p.provider_id = l.provider_id
WHERE NOT EXISTS (
    SELECT 1 FROM touched_ids i WHERE i.kind = l.kind AND i.id = l.id AND i.place = l.place
)
