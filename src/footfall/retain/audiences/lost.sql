-- Lost: nineteen of twenty such customers, or nine of ten of the category's who ever come back, would have been by now.
SELECT r.person, r.last_ts AS since, r.last_provider_id AS provider_id, r.category,
       r.chance * r.order_value AS stake
FROM rhythms r
LEFT JOIN moments m ON m.category = r.category
WHERE r.waited <= 0.05 OR r.since_days >= m.lapsing
