-- Devices of the users in the table users, and whether other people were identified on them too.
SELECT visitor_id AS id,
       count(CASE WHEN user_id NOT IN (SELECT id FROM users) THEN 1 END) > 0 AS shared
FROM events
WHERE visitor_id IN (SELECT e.visitor_id FROM events e
                     WHERE e.visitor_id IS NOT NULL AND e.user_id IN (SELECT id FROM users))
   OR visitor_id IN (SELECT id FROM users)
GROUP BY visitor_id
ORDER BY visitor_id
