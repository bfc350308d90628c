-- One row for each person who bought: purchase days after the first (frequency), first to last (recency), first to now.
SELECT person, min(day) AS first_day, max(day) AS last_day,
       count(*) - 1 AS frequency,
       CAST(max(day) - min(day) AS BIGINT) AS recency_days,
       CAST(CAST($as_of AS DATE) - min(day) AS BIGINT) AS age_days,
       CAST(sum(orders) AS BIGINT) AS orders,
       CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS spend_minor,
       CAST(sum(amount_minor) - arg_min(amount_minor, day) AS DECIMAL(38, 0)) AS repeat_spend_minor
FROM purchase_days
GROUP BY person
ORDER BY person
