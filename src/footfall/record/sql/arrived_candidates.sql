-- Ids that the log holds near these days. Only ids and days are read: nearly always there is none.
INSERT INTO candidates
SELECT DISTINCT e.message_id
FROM events AS e
WHERE e.message_id IN (SELECT message_id FROM spooled WHERE fault IS NULL)
