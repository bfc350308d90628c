-- The log, without reading ids that none of its events has.
CREATE OR REPLACE TEMPORARY VIEW held_events AS
SELECT {held_columns} FROM events e
