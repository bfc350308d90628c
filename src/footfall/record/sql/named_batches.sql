-- Batches of that id, or of that source.
SELECT DISTINCT batch_id
FROM events
WHERE batch_id = getvariable('footfall_named') OR source = getvariable('footfall_named')
ORDER BY batch_id
