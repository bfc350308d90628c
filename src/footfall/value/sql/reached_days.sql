-- Single visits without a visit_id, at pairs without orders.
INSERT INTO reached
SELECT {raw_columns}
FROM person_events e
JOIN touched_days k ON k.person = e.person AND k.provider_id = e.provider_id AND k.day = e.day
WHERE e.name IN ({visit_events}) AND e.visit_id IS NULL
  AND e.day BETWEEN $first_touched_day AND $last_touched_day
