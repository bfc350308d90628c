-- Visit ids and order ids of touched events; links_grow.sql adds to them.
CREATE OR REPLACE TEMPORARY TABLE touched_ids AS
SELECT 'visit' AS kind, visit_id AS id, provider_id AS place
FROM touched_keys
WHERE visit_id IS NOT NULL AND provider_id IS NOT NULL
UNION
SELECT 'order' AS kind, order_id AS id, '' AS place
FROM touched_keys
WHERE order_id IS NOT NULL AND NOT is_visit
