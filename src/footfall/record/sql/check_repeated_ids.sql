-- Message ids that stand in the log more than once, five of them; found counts them all.
SELECT message_id, count(*) AS times, min(day) AS first_day, max(day) AS last_day, count(*) OVER () AS found
FROM events
GROUP BY message_id
HAVING count(*) > 1
ORDER BY times DESC, message_id
LIMIT 5
