-- One row for each refund, with its order: that of its order_id (and provider, where the refund names one), of several
-- the first; else the person's latest purchase before it at that provider; else none, and its visit_day is null. A
-- refund without an amount gives back its whole order: its amount is that of the order.
CREATE OR REPLACE TEMPORARY TABLE refunds AS
WITH refund AS (
    SELECT row_number() OVER (ORDER BY ts, message_id, day) AS refund,
           message_id, ts, day, person, provider_id, order_id, amount_minor
    FROM money
    WHERE is_refund
),
by_order AS (
    SELECT r.refund, min(o.purchase) AS purchase
    FROM refund r
    JOIN orders o ON o.order_id = r.order_id AND (r.provider_id IS NULL OR o.provider_id = r.provider_id)
    GROUP BY r.refund
),
by_person AS (
    SELECT r.refund, max(o.purchase) AS purchase
    FROM refund r
    JOIN orders o ON o.person = r.person AND o.provider_id = r.provider_id AND o.ts <= r.ts
    GROUP BY r.refund
)
SELECT r.refund, r.message_id, r.ts, r.day AS refund_day, r.person, r.order_id,
       coalesce(r.amount_minor, o.amount_minor) AS amount_minor,
       o.purchase, o.provider_id, o.visit_day, o.visit_id, o.visit_person,
       o.delay_days AS order_delay_days,
       CASE WHEN o.purchase IS NOT NULL THEN greatest(r.day - o.order_day, 0) END AS refund_delay_days,
       {refund_columns}
FROM refund r
LEFT JOIN by_order b ON b.refund = r.refund
LEFT JOIN by_person q ON q.refund = r.refund
LEFT JOIN orders o ON o.purchase = coalesce(b.purchase, q.purchase)
