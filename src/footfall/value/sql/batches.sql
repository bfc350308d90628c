-- Batches of the log, their rows (a batch that shrank has lost events to an erasure), their first and last day.
SELECT batch_id, count(*) AS events, min(day) AS first_day, max(day) AS last_day FROM events GROUP BY batch_id
