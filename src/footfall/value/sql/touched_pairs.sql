-- Pairs (person, provider) whose orders or refunds a touched event can move: those on its day or later. (An earlier
-- order belongs to an earlier visit.) grow_pairs.sql adds to them.
CREATE OR REPLACE TEMPORARY TABLE touched_pairs AS
SELECT DISTINCT m.person, m.provider_id
FROM money_keys m
JOIN touched_keys k ON k.person = m.person AND k.provider_id = m.provider_id AND m.day >= k.day
