-- Due to repurchase: by their own rhythm half of such customers would have bought again within the next 3 days.
SELECT r.person, r.last_ts AS since, r.last_provider_id AS provider_id, r.category,
       r.within_30 * r.order_value AS stake
FROM rhythms r
WHERE r.due_in_days <= 3 AND r.chance >= 0.3
