-- Typed values and the first fault of each row of `given` (all fields as text; line, raw, early come first).
-- A fault is `field:reason`; a row with a fault gets no day. Variables footfall_* are set by intake.py.
SELECT
    line,
    CASE WHEN fault IS NOT NULL THEN raw END AS raw,
    fault,
    CASE WHEN fault IS NOT NULL THEN CASE split_part(fault, ':', 1)
        WHEN 'name' THEN given_name
        WHEN 'currency' THEN currency
        WHEN 'ts' THEN CASE WHEN fault = 'ts:unreadable' THEN getvariable('footfall_time_format')
                            WHEN getvariable('footfall_time_format') IS NOT NULL THEN NULL
                            WHEN regexp_full_match(given_ts, '-?[0-9]{1,10}(\.[0-9]+)?') THEN 'seconds'
                            WHEN regexp_full_match(given_ts, '[0-9]{12,13}(\.0+)?') THEN 'milliseconds'
                            WHEN regexp_full_match(given_ts, '[0-9]{15,16}') THEN 'microseconds' END
    END END AS culprit,
    message_id IS NULL AS computed,
    coalesce(message_id, md5(concat_ws(chr(31),
        CAST(ts AS VARCHAR), coalesce(name, ''), coalesce(visitor_id, ''), coalesce(user_id, ''), coalesce(previous_id, ''),
        coalesce(visit_id, ''), coalesce(provider_id, ''), coalesce(item_id, ''), coalesce(order_id, ''),
        coalesce(CAST(amount_minor AS VARCHAR), ''), coalesce(category, ''), coalesce(channel, ''),
        coalesce(campaign, ''), coalesce(device, ''), coalesce(country, ''), coalesce("position", ''),
        coalesce(CAST(propensity AS VARCHAR), ''), coalesce(properties, '')))) AS message_id,
    ts,
    CASE WHEN fault IS NULL THEN
        CASE WHEN ts >= getvariable('footfall_steady_since') THEN CAST(ts + getvariable('footfall_offset') AS DATE)
             ELSE CAST(timezone(getvariable('footfall_zone'), timezone('UTC', ts)) AS DATE) END
    END AS day,
    name, visitor_id, user_id, previous_id, visit_id, provider_id, item_id, order_id, amount_minor,
    category, channel, campaign, device, country, "position", propensity, properties,
    getvariable('footfall_source') AS source,
    getvariable('footfall_batch') AS batch_id,
    getvariable('footfall_received') AS received_at
FROM (
    SELECT
        *,
        CASE
            WHEN early IS NOT NULL THEN early
            WHEN given_ts IS NULL THEN 'ts:missing'
            WHEN ts IS NULL THEN 'ts:unreadable'
            WHEN ts < getvariable('footfall_earliest') THEN 'ts:early'
            WHEN ts > getvariable('footfall_latest') THEN 'ts:late'
            WHEN given_name IS NULL THEN 'name:missing'
            WHEN name IS NULL THEN 'name:unknown'
            WHEN visitor_id IS NULL AND user_id IS NULL AND NOT (name = 'refund' AND order_id IS NOT NULL)
                THEN CASE WHEN name = 'refund' THEN 'order_id:refund' ELSE 'visitor_id:missing' END
            WHEN provider_id IS NULL AND needs_provider THEN 'provider_id:missing'
            WHEN name = 'alias' AND (user_id IS NULL OR previous_id IS NULL)
                THEN CASE WHEN user_id IS NULL THEN 'user_id:alias' ELSE 'previous_id:alias' END
            WHEN name = 'purchase' AND given_amount IS NULL AND given_minor IS NULL THEN 'amount:missing'
            -- Lines that begin with a field are left out where the file has no such field.
            /* currency */ WHEN upper(currency) <> getvariable('footfall_currency') THEN 'currency:other'
            /* amount */ WHEN given_amount IS NOT NULL AND amount IS NULL THEN 'amount:unreadable'
            /* amount */ WHEN abs(amount) > getvariable('footfall_max_amount') THEN 'amount:large'
            /* amount */ WHEN abs(scaled - round(scaled, 0)) > 0.000001 THEN 'amount:decimals'
            /* amount_minor */ WHEN given_minor IS NOT NULL AND signed_minor IS NULL THEN 'amount_minor:unreadable'
            /* amount_minor */ WHEN abs(CAST(signed_minor AS DECIMAL(38, 0))) > getvariable('footfall_max_minor') THEN 'amount_minor:large'
            /* amount */ WHEN signed_minor < 0 AND name = 'purchase' THEN 'amount:negative'
            /* amount_minor */ WHEN signed_minor < 0 AND name = 'purchase' THEN 'amount:negative'
            /* propensity */ WHEN given_propensity IS NOT NULL AND (propensity > 0 AND propensity <= 1) IS NOT TRUE THEN 'propensity:range'
            /* message_id */ WHEN strlen(message_id) > 512 THEN 'message_id:long'
            /* visitor_id */ WHEN strlen(visitor_id) > 512 THEN 'visitor_id:long'
            /* user_id */ WHEN strlen(user_id) > 512 THEN 'user_id:long'
            /* previous_id */ WHEN strlen(previous_id) > 512 THEN 'previous_id:long'
            /* visit_id */ WHEN strlen(visit_id) > 512 THEN 'visit_id:long'
            /* provider_id */ WHEN strlen(provider_id) > 512 THEN 'provider_id:long'
            /* item_id */ WHEN strlen(item_id) > 512 THEN 'item_id:long'
            /* order_id */ WHEN strlen(order_id) > 512 THEN 'order_id:long'
            /* controls */ WHEN regexp_matches(concat(message_id, visitor_id, user_id, previous_id, visit_id, provider_id, item_id, order_id, category, channel, campaign, device, country, "position"), '[\x00-\x1f\x7f]') THEN 'id:control'
            /* properties */ WHEN properties IS NOT NULL AND (NOT json_valid(properties) OR json_type(TRY_CAST(properties AS JSON)) <> 'OBJECT') THEN 'properties:object'
        END AS fault
    FROM (
        SELECT
            *,
            CASE WHEN name = 'refund' THEN abs(signed_minor) ELSE signed_minor END AS amount_minor
        FROM (
            SELECT
                *,
                CASE WHEN given_minor IS NOT NULL THEN CASE WHEN regexp_full_match(given_minor, '[+-]?[0-9]+(\.0*)?') THEN TRY_CAST(given_minor AS BIGINT) END
                     WHEN abs(amount) <= getvariable('footfall_max_amount') THEN CAST(round(scaled, 0) AS BIGINT) END AS signed_minor
            FROM (
                SELECT
                    *,
                    CASE WHEN abs(amount) <= getvariable('footfall_max_amount')
                         THEN amount * getvariable('footfall_scale') END AS scaled
                FROM (
                    SELECT
                        line, raw, early,
                        nullif(g.message_id, '') AS message_id,
                        nullif(g.ts, '') AS given_ts,
                        CASE WHEN getvariable('footfall_time_format') IS NOT NULL
                        THEN timezone('UTC', CAST(try_strptime(trim(g.ts), CAST(getvariable('footfall_time_format') AS VARCHAR)) AS TIMESTAMPTZ))
                        ELSE coalesce(
                            make_timestamp(epoch_us(TRY_CAST(g.ts AS TIMESTAMPTZ))),
                            CASE
                                WHEN regexp_full_match(g.ts, '-?[0-9]{1,10}(\.[0-9]+)?')
                                    THEN make_timestamp(CAST(round(CAST(g.ts AS DECIMAL(20, 6)) * 1000000, 0) AS BIGINT))
                                WHEN regexp_full_match(g.ts, '[0-9]{12,13}(\.0+)?')
                                    THEN make_timestamp(CAST(CAST(g.ts AS DECIMAL(20, 6)) AS BIGINT) * 1000)
                                WHEN regexp_full_match(g.ts, '[0-9]{15,16}')
                                    THEN make_timestamp(CAST(g.ts AS BIGINT))
                                ELSE timezone('UTC', TRY_CAST(regexp_replace(trim(g.ts), ' ([+-][0-9])', '\1') AS TIMESTAMPTZ))
                            END
                        ) END AS ts,
                        nullif(g.name, '') AS given_name,
                        n.name AS name,
                        n.needs_provider AS needs_provider,
                        nullif(g.visitor_id, '') AS visitor_id,
                        nullif(g.user_id, '') AS user_id,
                        nullif(g.previous_id, '') AS previous_id,
                        nullif(g.visit_id, '') AS visit_id,
                        nullif(g.provider_id, '') AS provider_id,
                        nullif(g.item_id, '') AS item_id,
                        nullif(g.order_id, '') AS order_id,
                        nullif(g.amount, '') AS given_amount,
                        TRY_CAST(CASE
                            WHEN regexp_full_match(g.amount, ' *[+-]?[0-9.]+([eE][+-]?[0-9]+)? *')
                                 AND getvariable('footfall_decimal') = 'point' THEN g.amount
                            WHEN getvariable('footfall_decimal') = 'comma'
                                 AND regexp_full_match(g.amount, ' *[+-]?([0-9]+|[0-9]{1,3}([. ''][0-9]{3})+)(,[0-9]*)? *')
                                THEN replace(regexp_replace(g.amount, '[. '']', '', 'g'), ',', '.')
                            WHEN getvariable('footfall_decimal') = 'point'
                                 AND regexp_full_match(g.amount, ' *[+-]?[0-9]{1,3}([, ''][0-9]{3})+(\.[0-9]*)? *')
                                THEN regexp_replace(g.amount, '[, '']', '', 'g')
                        END AS DECIMAL(38, 12)) AS amount,
                        nullif(g.amount_minor, '') AS given_minor,
                        nullif(g.currency, '') AS currency,
                        nullif(g.category, '') AS category,
                        nullif(g.channel, '') AS channel,
                        nullif(g.campaign, '') AS campaign,
                        nullif(g.device, '') AS device,
                        nullif(g.country, '') AS country,
                        nullif(g."position", '') AS "position",
                        nullif(g.propensity, '') AS given_propensity,
                        TRY_CAST(g.propensity AS DOUBLE) AS propensity,
                        nullif(g.properties, '') AS properties
                    FROM given AS g
                    LEFT JOIN event_names AS n ON n.given = lower(g.name)
                )
            )
        )
    )
)
