-- Visits without a visit_id, of touched pairs: only the days that can matter, and no message_id where ties do not
-- matter either (it is most of what a scan costs). Persons are looked up first, which leaves few events to look up
-- the pair of; and so few are left then that their name is asked for last. (EXISTS ... IS TRUE where a join would say
-- the same: the optimiser thinks few events are left after the filter on days, and would build its hash table of them.)
CREATE OR REPLACE TEMPORARY TABLE reached_pairs AS
SELECT {visit_columns_read}, e.name IN ({visit_events}) AS is_wanted
FROM person_events e
WHERE e.visit_id IS NULL
  AND e.day BETWEEN $first_day AND $last_day
  AND (e.person IN (SELECT p.person FROM touched_pairs p)) IS TRUE
  AND (EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = e.person AND p.provider_id = e.provider_id)) IS TRUE
