-- Days that hold events of the batches that are replaced, and how many.
SELECT day, count(*) AS events
FROM events
WHERE list_contains(getvariable('footfall_replaces'), batch_id)
GROUP BY day
ORDER BY day
