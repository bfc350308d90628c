-- Members whom the log knows: a person that an operator's SELECT made up is nobody to write to.
SELECT g.*
FROM given g
WHERE g.person IN (SELECT person FROM person_events)
