-- The (person, category) behind each number.
SELECT rhythm, person, category
FROM purchase_gaps
WHERE closed = 0
ORDER BY rhythm
