-- Likely to subscribe: no fan of a provider or of all yet, and visited it on at least three of the last 14 days, or reacted.
SELECT v.person, v.last_ts AS since, v.provider_id, v.category,
       c.chance * c.order_value AS stake
FROM visited v
JOIN today t ON TRUE
JOIN chances c ON c.category = v.category AND c.age_days = t.day - v.last_day
LEFT JOIN ties s ON s.person = v.person
WHERE NOT EXISTS (SELECT 1 FROM fans f WHERE f.person = v.person AND f.provider_id = v.provider_id)
  AND NOT EXISTS (SELECT 1 FROM fans f WHERE f.person = v.person AND f.provider_id IS NULL)
  AND t.day - v.last_day <= 14
  AND (v.recent_days >= 3 OR s.reactions > 0)
