-- The events that can say whose devices are by now, and who was merged with whom; as a source of ``value.identity``.
CREATE OR REPLACE TEMPORARY TABLE touched_events AS
SELECT name, user_id, previous_id, visitor_id, message_id, ts
FROM events
WHERE name = 'alias' OR visitor_id IN (SELECT id FROM asked)
