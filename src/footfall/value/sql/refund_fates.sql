-- Refunds of the log by what becomes of them (model.REFUND_FATES): how many, their money, and how much of it is beyond
-- the amount of its order. A refund that is in the log and not in `refunds` is of an excluded visitor.
WITH told AS (
    SELECT e.message_id, e.ts, e.order_id, f.purchase, o.amount_minor AS order_minor,
           coalesce(f.amount_minor, e.amount_minor, 0) AS amount_minor,
           CASE WHEN f.message_id IS NULL THEN 'excluded'
                WHEN o.order_id = e.order_id THEN 'named'
                WHEN f.purchase IS NOT NULL THEN 'latest'
                WHEN e.visitor_id IS NULL AND e.user_id IS NULL THEN 'nobody'
                WHEN e.provider_id IS NULL THEN 'no provider'
                ELSE 'no order' END AS fate
    FROM events e
    LEFT JOIN refunds f ON f.message_id = e.message_id AND f.refund_day = e.day
    LEFT JOIN orders o ON o.purchase = f.purchase
    WHERE e.name IN ({refund_events})
),
-- What comes off an order counts up to its amount first for the refunds that name it.
running AS (
    SELECT *, sum(amount_minor) OVER (
                  PARTITION BY purchase ORDER BY fate = 'named' DESC, ts, message_id ROWS UNBOUNDED PRECEDING
              ) AS so_far
    FROM told
)
SELECT fate, count(*) AS refunds, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor,
       CAST(sum(CASE WHEN purchase IS NOT NULL THEN
                    greatest(so_far - order_minor, 0) - greatest(so_far - amount_minor - order_minor, 0)
                ELSE 0 END) AS DECIMAL(38, 0)) AS beyond_minor,
       list(struct_pack(message_id := message_id, order_id := order_id) ORDER BY amount_minor DESC, message_id)[1:5]
           AS examples
FROM running
GROUP BY fate
ORDER BY list_position(['named', 'latest', 'no order', 'nobody', 'no provider', 'excluded'], fate)
