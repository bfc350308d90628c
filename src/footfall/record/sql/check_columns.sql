-- How many visit events have each column that a segment can be made of.
SELECT count(*) AS events,
       count(nullif(channel, '')) AS channel,
       count(nullif(category, '')) AS category,
       count(nullif(campaign, '')) AS campaign,
       count(nullif(device, '')) AS device,
       count(nullif(country, '')) AS country,
       count(nullif(position, '')) AS position
FROM events
WHERE name IN ({visit_events})
