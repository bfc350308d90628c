-- Entries that end now, each with its reason: bought since, wants nothing of it any more (and no step can reach them), or no
-- longer of the audience. Whose address the log merely does not tell stays: it may tell it again.
SELECT e.person, e.entry,
       CASE WHEN $bought AND o.ts > e.since THEN 'bought'
            WHEN $unsubscribed AND u.person IS NOT NULL THEN 'unsubscribed'
            ELSE 'left' END AS reason
FROM given_active e
LEFT JOIN last_order o ON o.person = e.person
LEFT JOIN given_unwilling u ON u.person = e.person
LEFT JOIN given_members m ON m.person = e.person
WHERE ($bought AND o.ts > e.since) OR ($unsubscribed AND u.person IS NOT NULL) OR ($left AND m.person IS NULL)
