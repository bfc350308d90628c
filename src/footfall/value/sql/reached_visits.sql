-- Visits with a visit_id that ties lead to, as a whole.
INSERT INTO reached
SELECT {raw_columns}
FROM person_events e
JOIN touched_ids i ON i.kind = 'visit' AND i.id = e.visit_id AND i.place = e.provider_id
WHERE e.name IN ({visit_events}) AND e.visit_id IS NOT NULL
