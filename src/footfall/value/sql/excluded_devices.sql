-- Devices that are left out (a part of person_events.sql, where some are).
WHERE NOT EXISTS (SELECT 1 FROM excluded x WHERE x.id = e.visitor_id)
