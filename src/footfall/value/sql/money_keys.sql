-- Orders and refunds of the whole log, with the person of each now, and before where that changed.
CREATE OR REPLACE TEMPORARY TABLE money_keys AS
SELECT e.person, {raw_columns}, e.name IN ({refund_events}) AS is_refund, TRUE AS is_now
FROM money_now e
UNION ALL
SELECT e.person, {raw_columns}, e.name IN ({refund_events}) AS is_refund, FALSE AS is_now
FROM touched_before e
WHERE e.name IN ({order_events}, {refund_events})
