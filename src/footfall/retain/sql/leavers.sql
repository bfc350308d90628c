-- Persons whose newest word on messages is that they want none, and when; a provider's fans may leave one by one.
CREATE OR REPLACE TEMPORARY TABLE leavers AS
SELECT person, ts
FROM (
    SELECT person, arg_max(name, (ts, name)) AS name, max(ts) AS ts
    FROM acts
    WHERE name IN ('subscribe', 'unsubscribe')
    GROUP BY person
)
WHERE name = 'unsubscribe'
