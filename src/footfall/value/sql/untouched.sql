-- Events of the log, each with its person, that are not in touched_events.
CREATE OR REPLACE TEMPORARY VIEW untouched AS
SELECT *
FROM person_events e
WHERE NOT EXISTS (SELECT 1 FROM new_batches b WHERE b.batch_id = e.batch_id)
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.visitor_id = e.visitor_id AND e.user_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.user_id = e.user_id)
