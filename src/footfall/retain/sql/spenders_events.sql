-- The events from which orders and refunds are counted: those of spenders, and of the visits that they were part of.
CREATE OR REPLACE TEMPORARY VIEW person_events AS
SELECT *
FROM all_person_events
WHERE person IN (SELECT person FROM spenders) OR visit_id IN (SELECT visit_id FROM spenders_visits)
