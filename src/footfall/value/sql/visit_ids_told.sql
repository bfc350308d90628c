-- Whether some event has a visit_id. Stops at the first such event; where there is none, statistics tell.
SELECT EXISTS (SELECT 1 FROM events WHERE visit_id IS NOT NULL) AS told
