-- One row for each person who had bought by a day: as buyers.sql knew them then, and purchase days since.
SELECT person,
       count(*) FILTER (WHERE day <= CAST($cut AS DATE)) - 1 AS frequency,
       CAST(max(day) FILTER (WHERE day <= CAST($cut AS DATE)) - min(day) AS BIGINT) AS recency_days,
       CAST(CAST($cut AS DATE) - min(day) AS BIGINT) AS age_days,
       count(*) FILTER (WHERE day > CAST($cut AS DATE)) AS later
FROM purchase_days
GROUP BY person
HAVING min(day) <= CAST($cut AS DATE)
ORDER BY person
