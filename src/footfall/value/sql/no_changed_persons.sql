-- In a log without users nobody becomes another person.
CREATE OR REPLACE TEMPORARY TABLE changed_persons AS
SELECT CAST(NULL AS VARCHAR) AS visitor_id, CAST(NULL AS VARCHAR) AS user_id WHERE FALSE
