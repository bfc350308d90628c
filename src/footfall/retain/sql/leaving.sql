-- Entries that end now, each with its reason: bought since, left for good (no step can reach them),
-- or no longer of the audience.
SELECT e.person, e.entry,
       CASE WHEN $bought AND o.ts > e.since THEN 'bought'
            WHEN $unsubscribed AND r.person IS NULL THEN 'unsubscribed'
            ELSE 'left' END AS reason
FROM given_active e
LEFT JOIN last_order o ON o.person = e.person
LEFT JOIN (SELECT DISTINCT person FROM given_reachable) r ON r.person = e.person
LEFT JOIN given_members m ON m.person = e.person
WHERE ($bought AND o.ts > e.since) OR ($unsubscribed AND r.person IS NULL) OR ($left AND m.person IS NULL)
