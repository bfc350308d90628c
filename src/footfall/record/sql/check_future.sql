-- Events later than $now (UTC), five of them, the latest first.
SELECT message_id, ts, source, count(*) OVER () AS found
FROM events
WHERE ts > CAST($now AS TIMESTAMP)
ORDER BY ts DESC, message_id
LIMIT 5
