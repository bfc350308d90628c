-- All events that what changed can reach. Counts of the rest of the log are the same now and before, and counts of
-- these events do not depend on the rest: so facts now = facts before - counts of these before + counts of these now.
CREATE OR REPLACE TEMPORARY VIEW touched_all AS
SELECT {raw_columns}, e.is_new FROM touched_events e
UNION ALL
SELECT {raw_columns}, FALSE AS is_new
FROM reached e
WHERE e.is_wanted
  AND NOT EXISTS (SELECT 1 FROM new_batches b WHERE b.batch_id = e.batch_id)
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.visitor_id = e.visitor_id AND e.user_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.user_id = e.user_id)
