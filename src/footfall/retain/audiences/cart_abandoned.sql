-- Cart abandoned: put something into the cart at a provider and did not buy there since, within the category's time.
SELECT c.person, c.carted_ts AS since, c.provider_id, c.category,
       least(1.0, 4 * k.chance) * coalesce(c.cart_value, k.order_value) AS stake
FROM carted c
JOIN today t ON TRUE
JOIN chances k ON k.category = c.category AND k.age_days = t.day - c.carted_day
JOIN moments m ON m.category = c.category
WHERE (c.bought_ts IS NULL OR c.bought_ts < c.carted_ts)
  AND t.day - c.carted_day <= coalesce(m.too_late, 3)
