-- Orders and refunds, read from the log once; with all that a later update asks of them (money_rows.sql).
-- (The range says no more than the list, but readers of Parquet skip rows by it.)
CREATE OR REPLACE TEMPORARY TABLE money AS
SELECT person, {raw_columns}, coalesce(e.name IN ({refund_events}), FALSE) AS is_refund
FROM person_events e
WHERE e.name BETWEEN {first_money_event} AND {last_money_event} AND e.name IN ({order_events}, {refund_events})
