-- The first entry of each person as they are known by now: who was in the journey under several keys is in the arm of the
-- one that began first, as the next round will have it.
SELECT coalesce(j.is_now, e.person) AS person, min(e.entered_at) AS entered_at,
       arg_min(e.arm, (e.entered_at, j.is_now IS NULL, e.entry, e.person)) AS arm
FROM given_entries e
LEFT JOIN given_joined j ON j.person = e.person
GROUP BY 1
ORDER BY 1
