-- The visit_ids that spenders were part of; others may have begun such a visit.
CREATE OR REPLACE TEMPORARY TABLE spenders_visits AS
SELECT DISTINCT e.visit_id
FROM all_person_events e
SEMI JOIN spenders s ON s.person = e.person
WHERE e.visit_id IS NOT NULL
