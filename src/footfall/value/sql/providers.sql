-- Each provider that any event names: its first day, and the category told last (of two at once the greater name).
WITH told AS (
    SELECT provider_id, category, max(ts) AS ts, min(day) AS first_day
    FROM {source}
    WHERE provider_id IS NOT NULL
    GROUP BY provider_id, category
)
SELECT provider_id,
       arg_max(category, (ts, category)) FILTER (WHERE category IS NOT NULL) AS category,
       max(ts) FILTER (WHERE category IS NOT NULL) AS category_ts,
       min(first_day) AS first_day
FROM told
GROUP BY provider_id
