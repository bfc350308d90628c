-- Staged rows that the lake holds already (same id within 7 days), and whether one of those has the same content.
-- Of ids in one of so many parts, where there are more than fit. `staged` is a view of the staged files, `held` the lake's of the days around them.
SELECT
    s.message_id,
    s.day,
    NOT bool_or(
        hash(s.ts, s.name, s.visitor_id, s.user_id, s.previous_id, s.visit_id, s.provider_id, s.item_id, s.order_id,
             s.amount_minor, s.category, s.channel, s.campaign, s.device, s.country, s."position", s.propensity,
             s.properties)
        = hash(h.ts, h.name, h.visitor_id, h.user_id, h.previous_id, h.visit_id, h.provider_id, h.item_id, h.order_id,
               h.amount_minor, h.category, h.channel, h.campaign, h.device, h.country, h."position", h.propensity,
               h.properties)
    ) AS conflicting
FROM staged AS s
JOIN held AS h ON h.message_id = s.message_id AND abs(h.day - s.day) <= 7
WHERE getvariable('footfall_parts') = 1
   OR (hash(s.message_id) % getvariable('footfall_parts') = getvariable('footfall_part')
       AND hash(h.message_id) % getvariable('footfall_parts') = getvariable('footfall_part'))
GROUP BY s.message_id, s.day
