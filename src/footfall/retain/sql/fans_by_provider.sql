-- Each provider's own audience: fans now, come and gone in the last 28 days, and what part of its visits and of its GMV
-- of these days comes from them. A subscription without a provider counts wherever none was ended since. The last row is
-- the whole place.
WITH day AS (
    SELECT day FROM today
),
ended AS (
    SELECT person, provider_id, ts FROM follows WHERE name = 'unsubscribe' AND provider_id <> ''
),
own AS (
    SELECT person, provider_id, since_day FROM fans WHERE provider_id IS NOT NULL
    UNION ALL
    SELECT f.person, p.provider_id, f.since_day
    FROM (SELECT * FROM fans WHERE provider_id IS NULL) f
    JOIN told_providers p ON TRUE
    LEFT JOIN ended e ON e.person = f.person AND e.provider_id = p.provider_id
    WHERE e.ts IS NULL OR e.ts < f.since
),
one AS (
    SELECT person, provider_id, max(since_day) AS since_day FROM own GROUP BY person, provider_id
),
gone AS (
    SELECT f.provider_id, f.person
    FROM follows f, day
    WHERE f.name = 'unfollow' AND f.provider_id <> '' AND f.day > day.day - 28
),
seen AS (
    SELECT v.provider_id, v.person, v.person IN (SELECT person FROM fans) AS anywhere, o.person IS NOT NULL AS fan
    FROM (
        SELECT provider_id, person, day FROM visits
        UNION ALL
        SELECT provider_id, person, day FROM made_visits  -- by purchases that no visit led to
    ) v
    JOIN day ON v.day > day.day - 28 AND v.day <= day.day
    LEFT JOIN one o ON o.person = v.person AND o.provider_id = v.provider_id
),
paid AS (
    SELECT b.provider_id, b.amount_minor, b.person IN (SELECT person FROM fans) AS anywhere, o.person IS NOT NULL AS fan
    FROM orders b
    JOIN day ON b.order_day > day.day - 28 AND b.order_day <= day.day
    LEFT JOIN one o ON o.person = b.person AND o.provider_id = b.provider_id
),
counted AS (
    SELECT provider_id, count(*) AS visits, count(*) FILTER (WHERE fan) AS fan_visits
    FROM seen
    GROUP BY provider_id
),
earned AS (
    SELECT provider_id, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS gmv,
           CAST(coalesce(sum(amount_minor) FILTER (WHERE fan), 0) AS DECIMAL(38, 0)) AS fan_gmv
    FROM paid
    GROUP BY provider_id
),
following AS (
    SELECT o.provider_id, count(*) AS fans,
           count(*) FILTER (WHERE o.since_day > day.day - 28) AS new_fans
    FROM one o, day
    GROUP BY o.provider_id
),
left_behind AS (
    SELECT provider_id, count(*) AS lost_fans FROM gone GROUP BY provider_id
)
SELECT p.provider_id, coalesce(f.fans, 0) AS fans, coalesce(f.new_fans, 0) AS new_fans,
       coalesce(l.lost_fans, 0) AS lost_fans, coalesce(c.visits, 0) AS visits, coalesce(c.fan_visits, 0) AS fan_visits,
       coalesce(e.gmv, 0) AS gmv_minor, coalesce(e.fan_gmv, 0) AS fan_gmv_minor
FROM told_providers p
LEFT JOIN following f ON f.provider_id = p.provider_id
LEFT JOIN left_behind l ON l.provider_id = p.provider_id
LEFT JOIN counted c ON c.provider_id = p.provider_id
LEFT JOIN earned e ON e.provider_id = p.provider_id
UNION ALL
SELECT NULL, (SELECT count(DISTINCT person) FROM fans),
       (SELECT count(*) FROM (SELECT person, min(since_day) AS since_day FROM fans GROUP BY person), day
        WHERE since_day > day.day - 28),
       (SELECT count(DISTINCT person) FROM gone WHERE person NOT IN (SELECT person FROM fans)),
       (SELECT count(*) FROM seen), (SELECT count(*) FROM seen WHERE anywhere),
       (SELECT CAST(coalesce(sum(amount_minor), 0) AS DECIMAL(38, 0)) FROM paid),
       (SELECT CAST(coalesce(sum(amount_minor) FILTER (WHERE anywhere), 0) AS DECIMAL(38, 0)) FROM paid)
ORDER BY 1 NULLS LAST
