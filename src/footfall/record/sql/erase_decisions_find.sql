-- The table doomed_decisions: those for the person's ids, and for shared devices while they were the person's.
CREATE OR REPLACE TEMPORARY TABLE doomed_decisions AS
SELECT day, message_id
FROM decisions
WHERE visitor_id IN (SELECT id FROM users)
   OR visitor_id IN (SELECT id FROM devices)
UNION
SELECT d.day, d.message_id
FROM decisions d
JOIN spans s ON s.visitor_id = d.visitor_id
            AND (s.since IS NULL OR d.ts >= s.since)
            AND (s.until IS NULL OR d.ts < s.until)
