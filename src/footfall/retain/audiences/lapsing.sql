-- Lapsing: of such customers who come back, four in five would have by now, and not nineteen in twenty.
SELECT r.person, r.last_ts AS since, r.last_provider_id AS provider_id, r.category,
       r.chance * r.order_value AS stake
FROM rhythms r
WHERE r.waited <= 0.2 AND r.waited > 0.05
