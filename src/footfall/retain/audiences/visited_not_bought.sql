-- Visited not bought: the last visit at a provider brought no order since, and the category still gives it a chance.
SELECT v.person, v.last_ts AS since, v.provider_id, v.category,
       c.chance * c.order_value AS stake
FROM visited v
JOIN today t ON TRUE
JOIN chances c ON c.category = v.category AND c.age_days = t.day - v.last_day
JOIN moments m ON m.category = v.category
WHERE (v.bought_day IS NULL OR v.bought_day < v.last_day)
  AND m.follow_up IS NOT NULL
  AND t.day - v.last_day <= m.too_late
