-- Whether persons are more than devices: some event names a user, or no device. Stops at the first such event.
SELECT EXISTS (SELECT 1 FROM {source} WHERE user_id IS NOT NULL)
    OR EXISTS (SELECT 1 FROM {source} WHERE visitor_id IS NULL) AS needed
