-- What changed persons did is touched (a part of reached_old.sql, where some can have changed).
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.visitor_id = e.visitor_id AND e.user_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM changed_persons c WHERE c.user_id = e.user_id)
