-- Lapsing: four of five such customers would have been back by now, nineteen of twenty not yet.
SELECT r.person, r.last_ts AS since, r.last_provider_id AS provider_id, r.category,
       r.chance * r.order_value AS stake
FROM rhythms r
WHERE r.gaps > 0 AND r.waited <= 0.2 AND r.waited > 0.05
