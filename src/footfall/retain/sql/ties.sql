-- What binds a person to the place beside buying: follows in force, subscriptions in force, shares, likes and comments.
WITH bound AS (
    SELECT person,
           count(*) FILTER (WHERE name = 'follow') AS follows,
           count(*) FILTER (WHERE name = 'subscribe') AS subscriptions
    FROM follows
    GROUP BY person
),
told AS (
    SELECT person,
           count(*) FILTER (WHERE name = 'share') AS shares,
           count(*) FILTER (WHERE name IN ('like', 'comment')) AS reactions
    FROM acts
    WHERE name IN ('share', 'like', 'comment') AND day <= CAST($as_of AS DATE)
    GROUP BY person
)
SELECT coalesce(b.person, t.person) AS person,
       coalesce(b.follows, 0) AS follows, coalesce(b.subscriptions, 0) AS subscriptions,
       coalesce(t.shares, 0) AS shares, coalesce(t.reactions, 0) AS reactions
FROM bound b
FULL JOIN told t ON t.person = b.person
ORDER BY person
