-- Events of a made-up marketplace in which $people identified persons can be written to, from numbers alone, over $days
-- days from $first_day: each person signs up, visits on up to four days, one in four fills a cart, one in five buys, one
-- in fourteen buys up to four times, one in twenty follows a shop, some leave.
WITH base AS (
    SELECT n AS person,
           CAST(hash(n + 1000000007) % ($days - 60) AS INTEGER) AS day_number,
           CAST(hash(n + 2000000011) % 80000 AS INTEGER) AS second,
           CAST(hash(n + 3000000019) % $providers AS INTEGER) AS shop,
           hash(n + 4000000007) % 4 AS carts,
           hash(n + 5000000029) % 100 AS luck,
           CAST(hash(n + 6000000001) % 20 AS INTEGER) AS wait,
           CAST(hash(n + 7000000001) % 9000 + 500 AS BIGINT) AS amount,
           CAST(hash(n + 8000000009) % 4 AS INTEGER) + 1 AS visits,
           CAST(hash(n + 9000000011) % 60 AS INTEGER) AS pause
    FROM range(0, $people) t(n)
),
seen AS (
    SELECT *, unnest(range(visits)) AS step FROM base
),
event AS (
    SELECT person, shop, day_number, second, 0 AS kind, 'identify' AS name, NULL AS amount_minor,
           '{"traits": {"email": "p' || person || '@example.com", "timezone": "Europe/Berlin", "language": "en"}}' AS properties
    FROM base
    UNION ALL
    SELECT person, shop, least(day_number + CAST(step * (pause + 1) AS INTEGER), $days - 1), second + 5, 1 + step, 'page_view', NULL, NULL
    FROM seen
    UNION ALL
    SELECT person, shop, least(day_number + CAST((visits - 1) * (pause + 1) AS INTEGER), $days - 1), second + 60, 10, 'add_to_cart', amount, NULL
    FROM base WHERE carts = 0
    UNION ALL
    SELECT person, shop, day_number + wait, second + 120, 20, 'purchase', amount, NULL
    FROM base WHERE luck < 20
    UNION ALL
    SELECT person, shop, day_number + wait + CAST(again * (wait + 1) AS INTEGER), second + 180, 20 + again, 'purchase', amount, NULL
    FROM (SELECT *, unnest(range(1, visits + 1)) AS again FROM base WHERE luck < 7)
    UNION ALL
    SELECT person, shop, day_number + 1, second + 200, 30, CASE WHEN luck < 45 THEN 'follow' ELSE 'share' END, NULL, NULL
    FROM base WHERE luck BETWEEN 40 AND 46
    UNION ALL
    SELECT person, NULL, day_number + 2, second + 220, 31, 'unsubscribe', NULL, NULL
    FROM base WHERE luck = 99
)
SELECT 'm' || person || '-' || kind AS message_id,
       CAST($first_day AS TIMESTAMP) + to_days(day_number) + to_seconds(second) AS ts,
       CAST($first_day AS DATE) + day_number AS day,
       name, 'd' || person AS visitor_id, 'u' || person AS user_id, CAST(NULL AS VARCHAR) AS previous_id,
       CAST(NULL AS VARCHAR) AS visit_id, CASE WHEN shop IS NOT NULL AND name <> 'identify' THEN 'shop-' || shop END AS provider_id,
       CAST(NULL AS VARCHAR) AS item_id, CASE WHEN name = 'purchase' THEN 'o' || person || '-' || kind END AS order_id,
       CAST(amount_minor AS BIGINT) AS amount_minor,
       CASE WHEN shop IS NOT NULL AND name <> 'identify' THEN 'category-' || (shop % 12) END AS category,
       'direct' AS channel, CAST(NULL AS VARCHAR) AS campaign, CAST(NULL AS VARCHAR) AS device,
       CAST(NULL AS VARCHAR) AS country, CAST(NULL AS VARCHAR) AS position, CAST(NULL AS DOUBLE) AS propensity,
       CAST(properties AS VARCHAR) AS properties, 'benchmark' AS source, 'made' AS batch_id,
       CAST($first_day AS TIMESTAMP) AS received_at
FROM event
WHERE day_number < $days
