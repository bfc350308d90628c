-- Fans by what they do beside following: nothing yet, bought at least twice, or also share what they like.
SELECT CASE WHEN t.shares > 0 AND b.frequency >= 1 THEN 'advocate'
            WHEN b.frequency >= 1 THEN 'loyal fan'
            WHEN b.frequency = 0 THEN 'buying fan'
            ELSE 'fan' END AS tier,
       count(*) AS fans
FROM (SELECT DISTINCT person FROM fans) f
LEFT JOIN buyers b ON b.person = f.person
LEFT JOIN ties t ON t.person = f.person
GROUP BY 1
ORDER BY 1
