-- Events of the inbox, typed at once: what the gate passed needs no close look, unless the settings, the rules or the file
-- have changed since. `unsound` tells whether the row asks for one (sql/check.sql); then all rows get it.
CREATE OR REPLACE TEMPORARY TABLE spooled AS
SELECT
    line, CAST(NULL AS VARCHAR) AS fault, FALSE AS computed, message_id, ts,
    CASE WHEN ts >= getvariable('footfall_steady_since') THEN CAST(ts + getvariable('footfall_offset') AS DATE)
         ELSE CAST(timezone(getvariable('footfall_zone'), timezone('UTC', ts)) AS DATE) END AS day,
    name, visitor_id, user_id, previous_id, visit_id, provider_id, item_id, order_id, amount_minor,
    category, channel, campaign, device, country, "position", propensity, properties, source,
    make_timestamp(epoch_us(CAST(received_at AS TIMESTAMPTZ))) AS received_at,
    (
        line IS NOT NULL AND message_id IS NOT NULL
        AND ts >= getvariable('footfall_earliest') AND ts <= getvariable('footfall_latest')
        AND needs_provider IS NOT NULL AND (provider_id IS NOT NULL OR NOT needs_provider)
        AND (visitor_id IS NOT NULL OR user_id IS NOT NULL OR (name = 'refund' AND order_id IS NOT NULL))
        AND (name <> 'alias' OR (user_id IS NOT NULL AND previous_id IS NOT NULL))
        AND (name <> 'purchase' OR amount_minor >= 0)
        AND (amount_minor IS NULL OR (amount_minor BETWEEN -getvariable('footfall_max_minor') AND getvariable('footfall_max_minor')))
        AND (propensity IS NULL OR (propensity > 0 AND propensity <= 1))
        AND (properties IS NULL OR starts_with(properties, '{'))
    ) IS NOT TRUE AS unsound
FROM (
    SELECT
        line, nullif(a.message_id, '') AS message_id,
        make_timestamp(epoch_us(TRY_CAST(a.ts AS TIMESTAMPTZ))) AS ts, a.name, n.needs_provider,
        nullif(a.visitor_id, '') AS visitor_id, nullif(a.user_id, '') AS user_id,
        nullif(a.previous_id, '') AS previous_id, nullif(a.visit_id, '') AS visit_id,
        nullif(a.provider_id, '') AS provider_id, nullif(a.item_id, '') AS item_id, nullif(a.order_id, '') AS order_id,
        a.amount_minor, nullif(a.category, '') AS category, nullif(a.channel, '') AS channel,
        nullif(a.campaign, '') AS campaign, nullif(a.device, '') AS device, nullif(a.country, '') AS country,
        nullif(a."position", '') AS "position", a.propensity,
        CASE WHEN a.locale IS NULL THEN CAST(a.properties AS VARCHAR)
             WHEN a.properties IS NULL OR regexp_full_match(CAST(a.properties AS VARCHAR), '\{\s*\}')
                 THEN '{"locale":' || CAST(to_json(a.locale) AS VARCHAR) || '}'
             ELSE '{"locale":' || CAST(to_json(a.locale) AS VARCHAR) || ',' || substr(CAST(a.properties AS VARCHAR), 2)
        END AS properties,
        a.source, a.received_at
    FROM read_json(
        getvariable('footfall_arrived'),
        format = 'newline_delimited',
        records = true,
        ignore_errors = true,
        maximum_object_size = getvariable('footfall_longest'),
        columns = {
            line: 'BIGINT', message_id: 'VARCHAR', ts: 'VARCHAR', name: 'VARCHAR', visitor_id: 'VARCHAR',
            user_id: 'VARCHAR', previous_id: 'VARCHAR', visit_id: 'VARCHAR', provider_id: 'VARCHAR', item_id: 'VARCHAR',
            order_id: 'VARCHAR', amount_minor: 'BIGINT', category: 'VARCHAR', channel: 'VARCHAR', campaign: 'VARCHAR',
            device: 'VARCHAR', country: 'VARCHAR', "position": 'VARCHAR', propensity: 'DOUBLE', properties: 'JSON',
            locale: 'VARCHAR', source: 'VARCHAR', received_at: 'VARCHAR'
        }
    ) AS a
    LEFT JOIN (SELECT name, bool_or(needs_provider) AS needs_provider FROM event_names GROUP BY name) AS n ON n.name = a.name
) AS typed
