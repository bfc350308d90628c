-- What to do with rows whose message_id comes more than once in the file.
-- Computed ids: row k of several identical ones gets an id of its own. Given ids: the first row stays, later ones within
-- 7 days of it go; `far` marks groups that reach further, which are settled row by row.
SELECT
    line,
    day,
    message_id,
    computed,
    content,
    CASE WHEN computed AND k > 1 THEN md5(message_id || ':' || CAST(k AS VARCHAR)) ELSE message_id END AS new_id,
    computed OR k = 1 AS keep,
    NOT computed AND k > 1 AND content <> first_content AS conflicting,
    NOT computed AND max(abs(day - first_day)) OVER (PARTITION BY message_id, computed) > 7 AS far
FROM (
    SELECT
        *,
        row_number() OVER w AS k,
        first_value(day) OVER w AS first_day,
        first_value(content) OVER w AS first_content
    FROM (
        SELECT
            s.line, s.day, s.message_id, s.computed,
            hash(s.ts, s.name, s.visitor_id, s.user_id, s.previous_id, s.visit_id, s.provider_id, s.item_id, s.order_id,
                 s.amount_minor, s.category, s.channel, s.campaign, s.device, s.country, s."position", s.propensity,
                 s.properties) AS content
        FROM spooled AS s
        JOIN (
            SELECT message_id FROM spooled WHERE fault IS NULL GROUP BY message_id HAVING count(*) > 1
        ) AS r ON r.message_id = s.message_id
        WHERE s.fault IS NULL
    )
    WINDOW w AS (PARTITION BY message_id, computed ORDER BY line)
)
