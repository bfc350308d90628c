-- The events that count, each with its person, in a log where every event has a device and none an identified user:
-- the person is the device, with a letter in front where keys are kept beside the log (device_mark). All other logs go
-- through identity.sql.
CREATE OR REPLACE TEMPORARY VIEW {view} AS
SELECT {device_mark}e.visitor_id AS person, e.message_id, e.ts, e.day, e.name, e.visitor_id, e.user_id, e.visit_id,
       e.provider_id, e.order_id, e.amount_minor, e.batch_id, {event_columns}
FROM {source} e
{unless_excluded}
