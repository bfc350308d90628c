-- Visits and orders that no provider can be given for, by name of event.
SELECT name, count(*) AS events,
       count(CASE WHEN provider_id IS NULL THEN 1 END) AS without_provider
FROM events
WHERE name IN ({visit_events}) OR name IN ({order_events})
GROUP BY name
HAVING count(CASE WHEN provider_id IS NULL THEN 1 END) > 0
ORDER BY name
