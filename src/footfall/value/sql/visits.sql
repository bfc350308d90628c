-- One row for each visit: a visit_id at a provider where the log has one, else person x provider x local day.
-- Person, day and segment columns are those of its first event; of two at the same time, the smaller message_id.
CREATE OR REPLACE TEMPORARY VIEW visits AS
SELECT CAST(NULL AS VARCHAR) AS visit_id,
       person,
       provider_id,
       day,
       min(ts) AS start,
       arg_min(message_id, (ts, message_id)) AS message_id,
       {first_columns}
FROM person_events
WHERE name IN ({visit_events}) AND provider_id IS NOT NULL AND visit_id IS NULL
GROUP BY person, provider_id, day
{visits_by_id}
