-- Keys that are kept of persons and are another person's by now: a device of the user who was the first to be identified
-- on it, a user of the one that an alias merged them with.
SELECT g.person, 'u:' || coalesce(r.root, d.user_id, s.user_id) AS is_now
FROM given g
LEFT JOIN now_roots r ON g.person = 'u:' || r.user_id AND r.root <> r.user_id
LEFT JOIN now_devices d ON g.person = 'd:' || d.visitor_id AND d.user_id = d.other_user_id
LEFT JOIN now_spans s ON g.person = 'd:' || s.visitor_id AND s.since IS NULL
WHERE coalesce(r.root, d.user_id, s.user_id) IS NOT NULL
