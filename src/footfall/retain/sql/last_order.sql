-- When each person last bought anything.
CREATE OR REPLACE TEMPORARY TABLE last_order AS
SELECT person, max(ts) AS ts
FROM orders
GROUP BY person
