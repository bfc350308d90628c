-- Purchase days of each person after a day, from purchase days as they are known at the end.
SELECT person, count(*) AS days
FROM purchase_days
WHERE day > CAST($cut AS DATE)
GROUP BY person
