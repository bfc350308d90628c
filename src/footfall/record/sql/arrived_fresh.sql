-- Good events, each id once among those that are drained together. `repeats` is made by repeats.sql.
SELECT
    s.message_id, s.ts, s.day, s.name, s.visitor_id, s.user_id, s.previous_id, s.visit_id, s.provider_id, s.item_id,
    s.order_id, s.amount_minor, s.category, s.channel, s.campaign, s.device, s.country, s."position", s.propensity,
    s.properties, s.source, getvariable('footfall_batch') AS batch_id, s.received_at
FROM spooled AS s
LEFT JOIN repeats AS r ON r.line = s.line
WHERE s.fault IS NULL AND coalesce(r.keep, TRUE)
