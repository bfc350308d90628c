-- What new events tell about providers.
CREATE OR REPLACE TEMPORARY VIEW told_events AS
SELECT provider_id, told_category AS category, ts, day FROM touched_events WHERE is_new
