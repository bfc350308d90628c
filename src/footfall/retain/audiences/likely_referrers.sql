-- Likely referrers: shared something, or are fans who bought at least three times.
SELECT b.person, b.last_ts AS since, b.last_provider_id AS provider_id, CAST(NULL AS VARCHAR) AS category,
       b.money_90 AS stake
FROM buyers b
LEFT JOIN ties s ON s.person = b.person
LEFT JOIN (SELECT DISTINCT person FROM fans) f ON f.person = b.person
WHERE s.shares > 0 OR (f.person IS NOT NULL AND b.frequency >= 2)
