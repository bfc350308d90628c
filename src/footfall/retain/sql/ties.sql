-- What binds a person to the place beside buying: follows in force, subscriptions in force, shares, likes and comments.
-- The newest of follow and unfollow at a provider counts, and of subscribe and unsubscribe; of two at once, the leaving.
WITH newest AS (
    SELECT person, coalesce(provider_id, '') AS provider_id, name IN ('follow', 'unfollow') AS is_follow,
           arg_max(name, (ts, name)) AS name
    FROM acts
    WHERE name IN ('follow', 'unfollow', 'subscribe', 'unsubscribe') AND day <= CAST($as_of AS DATE)
    GROUP BY 1, 2, 3
),
bound AS (
    SELECT person,
           count(*) FILTER (WHERE name = 'follow') AS follows,
           count(*) FILTER (WHERE name = 'subscribe') AS subscriptions
    FROM newest
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
