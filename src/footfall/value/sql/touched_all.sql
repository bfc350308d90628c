-- All events that what changed can reach. Counts of the rest of the log are the same now and before, and counts of
-- these events do not depend on the rest: so facts now = facts before - counts of these before + counts of these now.
CREATE OR REPLACE TEMPORARY VIEW touched_all AS
SELECT {raw_columns}, e.is_new FROM touched_events e
UNION ALL
SELECT {raw_columns}, FALSE AS is_new FROM reached_old e
