-- Visits that purchases make, where there is no visit to attribute to and none of the purchase's own key: one for each
-- key, with the time, day and segment columns of its first purchase. The key is that of visits.sql.
CREATE OR REPLACE TEMPORARY TABLE made_visits AS
SELECT p.visit_id,
       arg_min(p.person, p.purchase) AS person,
       p.provider_id,
       arg_min(p.day, p.purchase) AS day,
       min(p.purchase) AS purchase,
       {made_columns}
FROM purchases p
LEFT JOIN attributed a ON a.purchase = p.purchase
LEFT JOIN own_visits o ON o.purchase = p.purchase
WHERE a.purchase IS NULL AND o.purchase IS NULL
GROUP BY p.visit_id, p.provider_id,
         CASE WHEN p.visit_id IS NULL THEN p.person END,
         CASE WHEN p.visit_id IS NULL THEN p.day END
