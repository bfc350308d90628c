-- The events that count, each with its person, in a log where every event has a device and none an identified user:
-- the person is the device. Logs with users, aliases or events without a device go through identity.sql.
CREATE OR REPLACE TEMPORARY VIEW person_events AS
SELECT visitor_id AS person, message_id, ts, day, name, visit_id, provider_id, order_id, amount_minor, {columns}
FROM events
WHERE visitor_id NOT IN (SELECT id FROM excluded)
