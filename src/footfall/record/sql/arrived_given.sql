-- The fields that check.sql asks for. The locale, which is no column of the log, goes into the properties.
SELECT
    line, CAST(NULL AS VARCHAR) AS raw, CAST(NULL AS VARCHAR) AS early,
    message_id, ts, name, visitor_id, user_id, previous_id, visit_id, provider_id, item_id, order_id,
    CAST(NULL AS VARCHAR) AS amount, amount_minor, CAST(NULL AS VARCHAR) AS currency,
    category, channel, campaign, device, country, "position", propensity,
    CASE WHEN locale IS NULL THEN CAST(properties AS VARCHAR)
         WHEN properties IS NULL OR regexp_full_match(CAST(properties AS VARCHAR), '\{\s*\}')
             THEN '{"locale":' || CAST(to_json(locale) AS VARCHAR) || '}'
         ELSE '{"locale":' || CAST(to_json(locale) AS VARCHAR) || ',' || substr(CAST(properties AS VARCHAR), 2)
    END AS properties
FROM arrived
WHERE message_id IS NOT NULL
