-- First decisions of a day by segment, whatever they came to: what traffic asked for.
SELECT segment, count(*) AS decisions
FROM decisions
WHERE day = $day AND repeat_of IS NULL
GROUP BY segment
