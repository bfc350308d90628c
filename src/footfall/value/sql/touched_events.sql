-- What changed: new events, and old ones that belong to another person now.
CREATE OR REPLACE TEMPORARY TABLE touched_events AS
SELECT {raw_columns}, e.category AS told_category, TRUE AS is_new
FROM new_events e
WHERE e.day BETWEEN $first_new_day AND $last_new_day
UNION ALL
SELECT {raw_columns}, CAST(NULL AS VARCHAR) AS told_category, FALSE AS is_new
FROM old_events e
WHERE e.user_id IS NULL
  AND e.visitor_id IN (SELECT c.visitor_id FROM changed_persons c WHERE c.visitor_id IS NOT NULL)
UNION ALL
SELECT {raw_columns}, CAST(NULL AS VARCHAR) AS told_category, FALSE AS is_new
FROM old_events e
WHERE e.user_id IN (SELECT c.user_id FROM changed_persons c WHERE c.user_id IS NOT NULL)
