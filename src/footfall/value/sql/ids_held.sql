-- Which ids the events of some days have: users (or no device), visit ids. Stops at the first such event; where there is
-- none, statistics tell.
SELECT EXISTS (SELECT 1 FROM events WHERE user_id IS NOT NULL AND day BETWEEN $first_day AND $last_day)
    OR EXISTS (SELECT 1 FROM events WHERE visitor_id IS NULL AND day BETWEEN $first_day AND $last_day) AS users,
       EXISTS (SELECT 1 FROM events WHERE visit_id IS NOT NULL AND day BETWEEN $first_day AND $last_day) AS visit_ids
