-- Fans: follow a provider or are subscribed now.
SELECT f.person, f.since, f.provider_id, CAST(NULL AS VARCHAR) AS category,
       b.money_90 AS stake
FROM fans f
LEFT JOIN buyers b ON b.person = f.person
