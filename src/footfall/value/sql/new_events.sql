-- The batches that are not counted yet.
CREATE OR REPLACE TEMPORARY VIEW new_events AS
SELECT * FROM events e WHERE e.batch_id IN (SELECT b.batch_id FROM new_batches b)
