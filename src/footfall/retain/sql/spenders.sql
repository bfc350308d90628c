-- Persons who ever ordered or sent back: nothing but their events can bear on an order.
CREATE OR REPLACE TEMPORARY TABLE spenders AS
SELECT DISTINCT person
FROM all_person_events
WHERE list_contains($names, name)
