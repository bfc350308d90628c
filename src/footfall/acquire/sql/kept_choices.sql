-- Choices whose reservation a visit kept, with the day of that visit.
CREATE OR REPLACE TEMPORARY TABLE kept_choices AS
SELECT c.message_id, c.provider_id, min(v.day) AS visit_day
FROM live_choices c
JOIN decided_visits v ON c.message_id = v.decision_id AND c.provider_id = v.provider_id
WHERE v.start < c.ts + to_microseconds($reservation_us)
GROUP BY c.message_id, c.provider_id
