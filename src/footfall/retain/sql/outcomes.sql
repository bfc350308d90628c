-- What became of each entry within the days that count: orders, money net of refunds, whether the person left.
WITH bought AS (
    SELECT e.person, e.entry, count(*) AS orders,
           CAST(sum(o.amount_minor - coalesce(g.amount_minor, 0)) AS DECIMAL(38, 0)) AS amount_minor
    FROM given_entries e
    JOIN orders o ON o.person = e.person AND o.ts > e.entered_at AND o.ts <= e.entered_at + $days * INTERVAL 1 DAY
    LEFT JOIN (SELECT purchase, sum(amount_minor) AS amount_minor FROM refunds GROUP BY purchase) g
           ON g.purchase = o.purchase
    GROUP BY e.person, e.entry
)
SELECT e.arm,
       CASE WHEN b.orders > 0 THEN 1.0 ELSE 0.0 END AS conversion,
       coalesce(CAST(b.amount_minor AS DOUBLE), 0) / $unit AS gmv,
       coalesce(CAST(b.amount_minor AS DOUBLE), 0) / $unit * $margin - coalesce(c.cost, 0) AS margin,
       CASE WHEN l.ts > e.entered_at THEN 1.0 ELSE 0.0 END AS unsubscribed
FROM given_entries e
LEFT JOIN bought b ON b.person = e.person AND b.entry = e.entry
LEFT JOIN given_costs c ON c.person = e.person AND c.entry = e.entry
LEFT JOIN leavers l ON l.person = e.person
