-- First-time buyers: one purchase day so far, in the last 30 days.
SELECT b.person, b.last_ts AS since, b.last_provider_id AS provider_id, r.category,
       b.money_90 AS stake
FROM buyers b
JOIN today t ON TRUE
LEFT JOIN rhythms r ON r.person = b.person AND r.latest
WHERE b.frequency = 0 AND t.day - b.last_day <= 30
