-- Batches of the log, their rows (a batch that shrank has lost events to an erasure) and their last day.
SELECT batch_id, count(*) AS events, max(day) AS last_day FROM events GROUP BY batch_id
