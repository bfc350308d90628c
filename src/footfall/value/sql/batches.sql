-- Batches of the log and their rows: a batch that shrank has lost events to an erasure.
SELECT batch_id, count(*) AS events FROM events GROUP BY batch_id
