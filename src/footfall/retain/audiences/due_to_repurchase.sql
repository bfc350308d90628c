-- Due to repurchase: by their own rhythm, half of such customers who come back would have done so by three days from now.
SELECT r.person, r.last_ts AS since, r.last_provider_id AS provider_id, r.category,
       r.within_30 * r.order_value AS stake
FROM rhythms r
WHERE r.since_days >= r.typical_days - 3 AND r.waited > 0.2 AND r.chance >= 0.1
