-- What each source brought, by batch; its newest batch tells whether it was imported.
WITH brought AS (
    SELECT coalesce(source, '') AS source, batch_id, count(*) AS events, min(day) AS first_day, max(day) AS last_day,
           min(received_at) AS imported_at
    FROM events
    GROUP BY ALL
)
SELECT source, max(batch_id) AS newest, CAST(sum(events) AS BIGINT) AS events, min(first_day) AS first_day,
       max(last_day) AS last_day, min(imported_at) AS imported_at,
       list(struct_pack(batch_id := batch_id, events := events, first_day := first_day, last_day := last_day, imported_at := imported_at))
           AS batches
FROM brought
GROUP BY source
