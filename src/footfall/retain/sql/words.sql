-- The newest word of each person on all messages, subscribe or unsubscribe, and when. A word on one provider is about its
-- fans alone. Of a clock that is ahead `subscribe` waits for its time, and `unsubscribe` holds at once.
CREATE OR REPLACE TEMPORARY TABLE words AS
SELECT person, arg_max(name, (ts, name)) AS name, max(ts) AS ts
FROM acts
WHERE name IN ('subscribe', 'unsubscribe') AND provider_id IS NULL
  AND (name = 'unsubscribe' OR ts <= CAST($now AS TIMESTAMP))
GROUP BY person
