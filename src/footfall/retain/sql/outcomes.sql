-- What became of each person within the days that count after entering for the first time: whether they bought what they
-- kept, money net of refunds (each order down to nothing), whether they left. Later entries make no units of their own: who enters again depends on
-- what the first one did, and one purchase would count twice.
WITH unit AS (
    SELECT person, arm, entered_at, entered_at + $days * INTERVAL 1 DAY AS until
    FROM given_entries
),
given_back AS (
    SELECT purchase, CAST(sum(amount_minor) AS DECIMAL(38, 0)) AS amount_minor
    FROM refunds
    WHERE purchase IS NOT NULL
    GROUP BY purchase
),
bought AS (
    SELECT u.person,
           count(*) FILTER (WHERE g.purchase IS NULL OR g.amount_minor < o.amount_minor) AS kept,
           CAST(sum(greatest(o.amount_minor - coalesce(g.amount_minor, 0), 0)) AS DECIMAL(38, 0)) AS amount_minor
    FROM unit u
    JOIN orders o ON o.person = u.person AND o.ts > u.entered_at AND o.ts <= u.until
    LEFT JOIN given_back g ON g.purchase = o.purchase
    GROUP BY u.person
),
cost AS (
    SELECT person, sum(cost) AS cost FROM given_costs GROUP BY person
),
keys AS (
    SELECT person, person AS key, entered_at, until FROM unit
    UNION ALL
    SELECT u.person, j.person, u.entered_at, u.until FROM unit u JOIN given_joined j ON j.is_now = u.person
),
named AS (  -- as the list of whom not may have each
    SELECT person, entered_at, until,
           unnest([key, substr(key, 3)]
                  || CASE WHEN contains(key, '@') THEN [lower(key), lower(substr(key, 3))] ELSE [] END) AS who
    FROM keys
),
gone AS (
    SELECT u.person
    FROM unit u
    JOIN words w ON w.person = u.person AND w.name = 'unsubscribe' AND w.ts > u.entered_at AND w.ts <= u.until
    UNION
    SELECT n.person
    FROM named n
    JOIN given_left s ON s.who = n.who AND s.at >= n.entered_at AND s.at <= n.until
)
SELECT u.arm,
       CASE WHEN b.kept > 0 THEN 1.0 ELSE 0.0 END AS conversion,
       coalesce(CAST(b.amount_minor AS DOUBLE), 0) / $unit AS gmv,
       coalesce(CAST(b.amount_minor AS DOUBLE), 0) / $unit * $margin - coalesce(c.cost, 0) AS margin,
       CASE WHEN g.person IS NOT NULL THEN 1.0 ELSE 0.0 END AS unsubscribed
FROM unit u
LEFT JOIN bought b ON b.person = u.person
LEFT JOIN cost c ON c.person = u.person
LEFT JOIN gone g ON g.person = u.person
