-- Days that have to be written anew, and how many of their events go: those with doomed events, and those where the
-- properties of other people's events name one of the ids (tokens: the ids as JSON texts).
SELECT day, CAST(sum(events) AS BIGINT) AS events
FROM (
    SELECT day, count(*) AS events FROM doomed GROUP BY day
    UNION ALL
    SELECT DISTINCT e.day, 0 AS events
    FROM events e
    JOIN tokens t ON strpos(e.properties, t.token) > 0
) AS found
GROUP BY day
ORDER BY day
