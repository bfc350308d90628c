-- The log before the batches that are not counted yet.
CREATE OR REPLACE TEMPORARY VIEW old_events AS
SELECT * FROM events e WHERE NOT EXISTS (SELECT 1 FROM new_batches b WHERE b.batch_id = e.batch_id)
