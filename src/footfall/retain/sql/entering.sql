-- Members of the audience who enter: never in the journey before, or long enough ago and through with it.
SELECT m.person, coalesce(l.entry, 0) + 1 AS entry, m.since, coalesce(m.provider_id, '') AS provider_id,
       coalesce(m.category, '') AS category, coalesce(m.stake, 0) AS stake, d.follow_up, l.arm AS former_arm
FROM given_members m
JOIN given_reachable r ON r.person = m.person
LEFT JOIN given_latest l ON l.person = m.person
LEFT JOIN moments d ON d.category = m.category
WHERE l.person IS NULL
   OR ($re_entry_s > 0 AND l.status <> 'active'
       AND epoch(CAST($now AS TIMESTAMP)) - epoch(l.entered_at) >= $re_entry_s)
ORDER BY m.person
