-- Order amounts that cannot be right, five of each kind: missing, negative, zero, and absurd: above $factor x the
-- median of the positive ones.
WITH amounts AS (
    SELECT message_id, provider_id, amount_minor
    FROM events
    WHERE name IN ({order_events})
),
middle AS (
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY amount_minor) AS median_minor
    FROM amounts
    WHERE amount_minor > 0
),
judged AS (
    SELECT a.message_id, a.provider_id, a.amount_minor, m.median_minor,
           CASE WHEN a.amount_minor IS NULL THEN 'missing'
                WHEN a.amount_minor < 0 THEN 'negative'
                WHEN a.amount_minor = 0 THEN 'zero'
                WHEN a.amount_minor > CAST($factor AS DOUBLE) * m.median_minor THEN 'absurd' END AS kind
    FROM amounts a
    CROSS JOIN middle m
),
numbered AS (
    SELECT kind, message_id, provider_id, amount_minor, median_minor,
           count(*) OVER (PARTITION BY kind) AS found,
           row_number() OVER (PARTITION BY kind ORDER BY abs(amount_minor) DESC, message_id) AS place
    FROM judged
    WHERE kind IS NOT NULL
)
SELECT kind, message_id, provider_id, amount_minor, median_minor, found
FROM numbered
WHERE place <= 5
ORDER BY kind, place
