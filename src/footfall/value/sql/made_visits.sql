-- Visits that purchases make, where there is no visit to attribute to and none of the purchase's own key: one for each
-- key, with the time, day and segment columns of its first purchase. The key is that of own_keys.sql.
CREATE OR REPLACE TEMPORARY TABLE made_visits AS
SELECT k.visit_id,
       arg_min(p.person, p.purchase) AS person,
       p.provider_id,
       arg_min(p.day, p.purchase) AS day,
       min(p.purchase) AS purchase,
       {made_columns}
FROM own_keys k
JOIN purchases p ON p.purchase = k.purchase
LEFT JOIN own_visits o ON o.purchase = k.purchase
WHERE o.purchase IS NULL
GROUP BY k.visit_id, p.provider_id,
         CASE WHEN k.visit_id IS NULL THEN p.person END,
         CASE WHEN k.visit_id IS NULL THEN p.day END
