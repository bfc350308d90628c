-- Pairs (person, provider) with orders or refunds that a touched event belongs to; links_grow.sql adds to them.
CREATE OR REPLACE TEMPORARY TABLE touched_pairs AS
SELECT DISTINCT m.person, m.provider_id
FROM money_keys m
JOIN touched_keys k ON k.person = m.person AND k.provider_id = m.provider_id
