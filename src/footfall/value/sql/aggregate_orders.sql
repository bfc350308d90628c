-- Orders by the day of their visit, segment, provider and delay. The casts keep sums exact: Parquet has no HUGEINT.
SELECT f.visit_day AS day, {segment} AS segment, f.provider_id, f.delay_days,
       count(*) AS orders,
       CAST(sum(f.amount_minor) AS DECIMAL(38, 0)) AS amount_minor,
       CAST(sum(CAST(f.amount_minor AS HUGEINT) * CAST(f.amount_minor AS HUGEINT)) AS DECIMAL(38, 0)) AS amount_sq
FROM orders f
LEFT JOIN known_providers k ON k.provider_id = f.provider_id
GROUP BY 1, 2, 3, 4
