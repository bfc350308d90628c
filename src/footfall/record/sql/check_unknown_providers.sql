-- Providers of the log that are not in the table known, the busiest first, five of them.
SELECT provider_id, count(*) AS events, count(*) OVER () AS found
FROM events
WHERE provider_id IS NOT NULL AND provider_id NOT IN (SELECT provider_id FROM known)
GROUP BY provider_id
ORDER BY events DESC, provider_id
LIMIT 5
