-- Whether the log has a refund at all.
SELECT EXISTS (SELECT 1 FROM events e WHERE e.name IN ({refund_events})) AS found
