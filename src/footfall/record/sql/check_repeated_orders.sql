-- Orders with more than one order event at one provider, five of each kind. kind 'lines': most events have an item of
-- their own, as in exports with a row for each item; kind 'again': the same order more than once.
WITH repeated AS (
    SELECT provider_id, order_id, count(*) AS times, count(DISTINCT item_id) AS items
    FROM events
    WHERE name IN ({order_events}) AND order_id IS NOT NULL
    GROUP BY provider_id, order_id
    HAVING count(*) > 1
),
ranked AS (
    SELECT CASE WHEN 2 * items > times THEN 'lines' ELSE 'again' END AS kind, provider_id, order_id, times
    FROM repeated
),
numbered AS (
    SELECT kind, provider_id, order_id, times,
           count(*) OVER (PARTITION BY kind) AS found,
           row_number() OVER (PARTITION BY kind ORDER BY times DESC, order_id, provider_id) AS place
    FROM ranked
)
SELECT kind, provider_id, order_id, times, found
FROM numbered
WHERE place <= 5
ORDER BY kind, place
