-- Orders and refunds of the whole log, where none are kept beside the facts.
CREATE OR REPLACE TEMPORARY VIEW money_rows AS
SELECT {raw_columns} FROM events e
WHERE e.name IN ({order_events}, {refund_events})
