-- Events and visitors of each name of event, the commonest first.
SELECT name,
       count(*) AS events,
       count(DISTINCT coalesce(visitor_id, user_id)) AS visitors,
       min(day) AS first_day,
       max(day) AS last_day
FROM events
GROUP BY name
ORDER BY events DESC, name
