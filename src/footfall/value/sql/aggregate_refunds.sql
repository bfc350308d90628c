-- Refunds that have an order, by the day of its visit, segment, provider, delay of the order and of the refund.
SELECT f.visit_day AS day, {segment} AS segment, f.provider_id, f.order_delay_days, f.refund_delay_days,
       count(*) AS refunds,
       CAST(sum(f.amount_minor) AS DECIMAL(38, 0)) AS amount_minor
FROM refunds f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
WHERE f.visit_day IS NOT NULL
GROUP BY 1, 2, 3, 4, 5
