-- Events, visitors and orders of each local day that has events.
SELECT day,
       count(*) AS events,
       count(DISTINCT coalesce(visitor_id, user_id)) AS visitors,
       count(CASE WHEN name IN ({order_events}) THEN 1 END) AS orders
FROM events
GROUP BY day
ORDER BY day
