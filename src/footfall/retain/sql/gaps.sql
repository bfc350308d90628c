-- Each gap: whose, how long, whether another purchase ended it.
SELECT CAST(rhythm AS BIGINT) AS rhythm, gap_days, CAST(closed AS BIGINT) AS closed
FROM purchase_gaps
