-- Each person with the address on the channel, zone, language, name, and why they are not written to, null where they are:
-- who wants no messages, has not subscribed to all messages where consent is needed, is on the list of whom not, has taken
-- the address back, or has said none.
SELECT p.person, p.address, c.timezone, c.language, c.name,
       CASE WHEN w.name = 'unsubscribe' THEN 'unsubscribed'
            WHEN w.name IS NULL AND $consent <> 'opt-out' THEN 'no consent'
            WHEN coalesce(s1.who, s2.who, s3.who, s4.who, s5.who) IS NOT NULL THEN 'on the list'
            WHEN p.address IS NULL AND p.taken_back THEN 'no address any more'
            WHEN p.address IS NULL THEN $no_address END AS why_not
FROM given_people p
LEFT JOIN contacts c ON c.person = p.person
LEFT JOIN words w ON w.person = p.person
-- one by one: each is a join by hash, where an IN of them all compares everybody with the whole list, which has each once
LEFT JOIN given_suppressed s1 ON s1.who = p.person
LEFT JOIN given_suppressed s2 ON s2.who = substr(p.person, 3)
LEFT JOIN given_suppressed s3 ON s3.who = p.listed_as
LEFT JOIN given_suppressed s4 ON s4.who = p.small
LEFT JOIN given_suppressed s5 ON s5.who = p.small_id
