-- What changed in a log without users: new events.
CREATE OR REPLACE TEMPORARY TABLE touched_events AS
SELECT {raw_columns}, e.category AS told_category, TRUE AS is_new
FROM new_events e
WHERE e.day BETWEEN $first_new_day AND $last_new_day
