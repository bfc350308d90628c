-- Events of some days, and those of them that come after a moment of each.
SELECT events.day, count(*) AS events, count(*) FILTER (WHERE events.ts > cuts.cut) AS later
FROM events JOIN (SELECT unnest($days) AS day, unnest($cuts) AS cut) AS cuts ON events.day = cuts.day
GROUP BY events.day
