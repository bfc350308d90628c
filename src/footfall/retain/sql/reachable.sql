-- Each person that can be written to: address on the channel, zone, language, name; not who wants no messages, is on the
-- list of whom not, or, where consent is needed, has not subscribed to all messages.
SELECT p.person, p.address, c.timezone, c.language, c.name
FROM given_people p
LEFT JOIN contacts c ON c.person = p.person
LEFT JOIN words w ON w.person = p.person
WHERE p.address IS NOT NULL
  AND (w.name = 'subscribe' OR (w.name IS NULL AND $consent = 'opt-out'))
  -- one by one: each is a join by hash, where an IN of them all compares everybody with the whole list
  AND NOT EXISTS (SELECT 1 FROM given_suppressed s WHERE s.who = p.person)
  AND NOT EXISTS (SELECT 1 FROM given_suppressed s WHERE s.who = substr(p.person, 3))
  AND NOT EXISTS (SELECT 1 FROM given_suppressed s WHERE s.who = p.listed_as)
  AND NOT EXISTS (SELECT 1 FROM given_suppressed s WHERE s.who = p.small)
  AND NOT EXISTS (SELECT 1 FROM given_suppressed s WHERE s.who = p.small_id)
