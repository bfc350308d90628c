-- What was reached and is no touched event itself.
CREATE OR REPLACE TEMPORARY TABLE reached_old AS
SELECT {raw_columns}
FROM (SELECT {raw_columns} FROM reached e UNION ALL SELECT {raw_columns} FROM reached_pairs e WHERE e.is_wanted) e
WHERE NOT EXISTS (SELECT 1 FROM new_batches b WHERE b.batch_id = e.batch_id)
{unless_changed}
