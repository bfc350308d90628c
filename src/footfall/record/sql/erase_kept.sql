-- The attached day's events that stay.
SELECT e.*
FROM events e
LEFT JOIN doomed d ON d.day = e.day AND d.message_id = e.message_id
WHERE d.message_id IS NULL
ORDER BY e.ts, e.message_id
