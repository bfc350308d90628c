-- Visit events of each hour of the local day.
SELECT CAST(date_part('hour', timezone($zone, timezone('UTC', ts))) AS INTEGER) AS hour, count(*) AS visits
FROM events
WHERE name IN ({visit_events})
GROUP BY 1
ORDER BY 1
