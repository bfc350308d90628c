-- Purchases, numbered; previous_ts is the time of the person's purchase before at the same provider.
CREATE OR REPLACE TEMPORARY TABLE purchases AS
SELECT row_number() OVER (ORDER BY ts, message_id, day) AS purchase,
       lag(ts) OVER (PARTITION BY person, provider_id ORDER BY ts, message_id, day) AS previous_ts,
       message_id, ts, day, person, provider_id, visit_id, order_id,
       coalesce(CAST($unit_minor AS BIGINT), amount_minor, 0) AS amount_minor,
       {columns}
FROM money
WHERE NOT is_refund AND provider_id IS NOT NULL
