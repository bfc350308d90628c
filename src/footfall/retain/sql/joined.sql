-- Keys that are kept of persons and are another person's by now: a device of the user who was the first to be identified
-- on it, a user of the one that an alias merged them with. A key without a letter in front is a device's, of a time when
-- logs without users had none.
WITH kept AS (
    SELECT person, CASE WHEN regexp_matches(person, '^[udvm]:') THEN person ELSE 'd:' || person END AS key
    FROM given
)
SELECT k.person, coalesce('u:' || coalesce(r.root, d.user_id, s.user_id), k.key) AS is_now
FROM kept k
LEFT JOIN now_roots r ON k.key = 'u:' || r.user_id AND r.root <> r.user_id
LEFT JOIN now_devices d ON k.key = 'd:' || d.visitor_id AND d.user_id = d.other_user_id
LEFT JOIN now_spans s ON k.key = 'd:' || s.visitor_id AND s.since IS NULL
WHERE is_now <> k.person
