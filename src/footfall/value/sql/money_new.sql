-- Orders and refunds of the batches that were not counted yet, as the log has them.
SELECT {raw_columns} FROM touched_events e
WHERE e.is_new AND e.name IN ({order_events}, {refund_events})
