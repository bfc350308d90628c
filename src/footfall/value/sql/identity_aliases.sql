-- Pairs of user ids that alias events make one person.
SELECT DISTINCT user_id, previous_id
FROM {source}
WHERE name = 'alias' AND user_id IS NOT NULL AND previous_id IS NOT NULL
