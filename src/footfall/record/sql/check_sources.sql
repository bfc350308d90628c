-- Events and visitors of each source (file, frame or client), the largest first.
SELECT source,
       count(*) AS events,
       count(DISTINCT coalesce(visitor_id, user_id)) AS visitors,
       min(day) AS first_day,
       max(day) AS last_day
FROM events
GROUP BY source
ORDER BY events DESC, source
