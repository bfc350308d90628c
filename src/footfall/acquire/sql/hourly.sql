-- Visit events by hour of the local day: the profile by which a day's traffic is expected.
SELECT CAST(date_part('hour', timezone($zone, timezone('UTC', ts))) AS BIGINT) AS hour, count(*) AS events
FROM events
WHERE day >= $first AND day <= $last AND name IN ({visit_events})
GROUP BY 1
