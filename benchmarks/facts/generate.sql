-- Events of a made-up marketplace, from numbers alone: visits of about three events each over $days days from
-- $first_day, the last day in a batch of its own; every fiftieth visit buys, a third of them 1 to 20 days later; a twentieth of the orders is refunded.
-- A visitor returns to four shops. Times within a visit can be equal, so that ties occur.
WITH base AS (
    SELECT n AS visit,
           CAST(hash(n) % $visitors AS BIGINT) AS visitor,
           CAST(hash(n + 1000000007) % $days AS INTEGER) AS day_number,
           CAST(hash(n + 2000000011) % 80000 AS INTEGER) AS second,
           CAST(hash(n + 3000000019) % 4 AS INTEGER) AS favourite,
           CAST(hash(n + 4000000007) % 8 AS INTEGER) AS channel,
           CAST(hash(n + 5000000029) % 5 + 1 AS INTEGER) AS events,
           hash(n + 6000000001) % 50 = 0 AS buys,
           CAST(hash(n + 7000000001) AS HUGEINT) AS luck
    FROM range(0, $visits) t(n)
),
visit AS (
    SELECT *,
           'shop-' || CAST(hash(visitor * 4 + favourite) % $providers AS INTEGER) AS shop,
           'device-' || visitor AS device_id,
           ['direct', 'search', 'social', 'mail', 'ads', 'partner', NULL, 'display'][channel + 1] AS source_channel,
           CASE WHEN luck % 3 = 0 THEN CAST(luck // 3 % 20 + 1 AS INTEGER) ELSE 0 END AS late_days
    FROM base
),
event AS (
    SELECT visit, shop, device_id, source_channel, day_number, second + (step // 2) * 35 AS second, step,
           ['page_view', 'view_item', 'page_view', 'add_to_cart', 'view_item'][step + 1] AS name,
           NULL AS order_id, NULL AS amount_minor
    FROM (SELECT *, unnest(range(events)) AS step FROM visit) s
    UNION ALL
    SELECT visit, shop, device_id, source_channel, day_number + late_days, second + 300, 7, 'purchase',
           'order-' || visit, CAST(luck // 60 % 20000 + 500 AS BIGINT)
    FROM visit WHERE buys
    UNION ALL
    SELECT visit, shop, device_id, source_channel, day_number + late_days + CAST(luck // 99 % 10 AS INTEGER),
           second + 600, 8, 'refund', 'order-' || visit, CAST(luck // 60 % 20000 + 500 AS BIGINT)
    FROM visit WHERE buys AND luck // 7 % 20 = 0
)
SELECT printf('%016x%02d', hash(visit), step) AS message_id,
       CAST($first_day AS TIMESTAMP) + to_days(day_number) + to_seconds(second) AS ts,
       CAST($first_day AS DATE) + day_number AS day,
       name, device_id AS visitor_id,
       CAST(NULL AS VARCHAR) AS user_id, CAST(NULL AS VARCHAR) AS previous_id, CAST(NULL AS VARCHAR) AS visit_id,
       shop AS provider_id, CAST(NULL AS VARCHAR) AS item_id, CAST(order_id AS VARCHAR) AS order_id,
       CAST(amount_minor AS BIGINT) AS amount_minor, CAST(NULL AS VARCHAR) AS category, source_channel AS channel,
       CAST(NULL AS VARCHAR) AS campaign, CAST(NULL AS VARCHAR) AS device, CAST(NULL AS VARCHAR) AS country,
       CAST(NULL AS VARCHAR) AS position, CAST(NULL AS DOUBLE) AS propensity, CAST(NULL AS VARCHAR) AS properties,
       'benchmark' AS source, CASE WHEN day_number = $days - 1 THEN 'last-day' ELSE 'before' END AS batch_id, CAST($first_day AS TIMESTAMP) AS received_at
FROM event
WHERE day_number < $days
