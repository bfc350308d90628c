-- The newest word of each person on all messages, subscribe or unsubscribe, and when. A word on one provider is about its
-- fans alone; one of a clock that is ahead is not said yet.
CREATE OR REPLACE TEMPORARY TABLE words AS
SELECT person, arg_max(name, (ts, name)) AS name, max(ts) AS ts
FROM acts
WHERE name IN ('subscribe', 'unsubscribe') AND provider_id IS NULL AND ts <= CAST($now AS TIMESTAMP)
GROUP BY person
