-- Users identified on a device.
SELECT DISTINCT user_id AS id FROM events WHERE visitor_id = $id AND user_id IS NOT NULL
