-- Days of decisions that have to be written anew, and how many of theirs are made anonymous: those with doomed ones, and
-- those where the context of other people's decisions names one of the ids (tokens: the ids as JSON texts).
SELECT day, CAST(sum(decisions) AS BIGINT) AS decisions
FROM (
    SELECT day, count(*) AS decisions FROM doomed_decisions GROUP BY day
    UNION ALL
    SELECT DISTINCT d.day, 0 AS decisions
    FROM decisions d
    JOIN tokens t ON strpos(d.context, t.token) > 0
) AS found
GROUP BY day
ORDER BY day
