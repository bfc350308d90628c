-- Orders and refunds of the whole log, with the person of each now, and before where that changed.
CREATE OR REPLACE TEMPORARY TABLE money_keys AS
SELECT person, provider_id, visit_id, order_id, name IN ({refund_events}) AS is_refund
FROM person_events
WHERE name IN ({order_events}, {refund_events})
UNION ALL
SELECT person, provider_id, visit_id, order_id, name IN ({refund_events}) AS is_refund
FROM touched_before
WHERE name IN ({order_events}, {refund_events})
