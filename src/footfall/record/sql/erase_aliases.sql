-- Ids that alias events make one person with an id of the table users.
SELECT DISTINCT CASE WHEN user_id IN (SELECT id FROM users) THEN previous_id ELSE user_id END AS id
FROM events
WHERE name = 'alias' AND user_id IS NOT NULL AND previous_id IS NOT NULL
  AND (user_id IN (SELECT id FROM users) OR previous_id IN (SELECT id FROM users))
