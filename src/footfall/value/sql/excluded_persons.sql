-- Persons that are left out, by any of their names (a part of identity.sql, where some are).
WHERE NOT EXISTS (SELECT 1 FROM excluded x WHERE x.id = e.visitor_id)
  AND NOT EXISTS (SELECT 1 FROM excluded x WHERE x.id = e.user_id)
  AND NOT EXISTS (SELECT 1 FROM {when}_excluded x WHERE x.person = e.person)
