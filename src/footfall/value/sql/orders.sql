-- One row for each purchase, with its visit: the attributed one, else the visit of its own key, else one it makes.
-- An order can be logged before the first event of its own visit; its delay is 0 then.
CREATE OR REPLACE TEMPORARY TABLE orders AS
SELECT p.purchase, p.message_id, p.ts, p.day AS order_day, p.person, p.provider_id, p.order_id, p.amount_minor,
       coalesce(a.visit_day, o.visit_day, m.day) AS visit_day,
       greatest(p.day - coalesce(a.visit_day, o.visit_day, m.day), 0) AS delay_days,
       CASE WHEN a.purchase IS NOT NULL THEN a.visit_id
            WHEN o.purchase IS NOT NULL THEN o.visit_id ELSE m.visit_id END AS visit_id,
       CASE WHEN a.purchase IS NOT NULL THEN a.person
            WHEN o.purchase IS NOT NULL THEN o.person ELSE m.person END AS visit_person,
       {order_columns}
FROM purchases p
LEFT JOIN attributed a ON a.purchase = p.purchase
LEFT JOIN own_keys k ON k.purchase = p.purchase
LEFT JOIN own_visits o ON o.purchase = p.purchase
LEFT JOIN made_visits m
       ON a.purchase IS NULL AND o.purchase IS NULL
      AND m.provider_id = p.provider_id
      AND m.visit_id IS NOT DISTINCT FROM k.visit_id
      AND (CASE WHEN m.visit_id IS NULL THEN m.person END)
          IS NOT DISTINCT FROM (CASE WHEN k.visit_id IS NULL THEN p.person END)
      AND (CASE WHEN m.visit_id IS NULL THEN m.day END)
          IS NOT DISTINCT FROM (CASE WHEN k.visit_id IS NULL THEN p.day END)
