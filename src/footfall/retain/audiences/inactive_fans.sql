-- Inactive fans: follow or are subscribed, and have not visited for 28 days.
SELECT f.person, f.since, f.provider_id, CAST(NULL AS VARCHAR) AS category,
       b.money_90 AS stake
FROM fans f
JOIN today t ON TRUE
LEFT JOIN buyers b ON b.person = f.person
LEFT JOIN (SELECT person, max(last_day) AS last_day FROM visited GROUP BY person) v ON v.person = f.person
WHERE v.last_day IS NULL OR t.day - v.last_day > 28
