-- Orders and refunds of the log that are counted already (kept beside the facts) and of the batches that are not: the log
-- itself need not be read for them, which is most of what looking for them costs.
CREATE OR REPLACE TEMPORARY VIEW money_rows AS
SELECT {raw_columns} FROM kept_money e
UNION ALL
SELECT {raw_columns} FROM touched_events e
WHERE e.is_new AND e.name IN ({order_events}, {refund_events})
