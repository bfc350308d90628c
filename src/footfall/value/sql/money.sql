-- Orders and refunds, read from the log once.
CREATE OR REPLACE TEMPORARY TABLE money AS
SELECT person, message_id, ts, day, coalesce(name IN ({refund_events}), FALSE) AS is_refund, visit_id, provider_id, order_id,
       amount_minor, {columns}
FROM person_events
WHERE name IN ({order_events}, {refund_events})
