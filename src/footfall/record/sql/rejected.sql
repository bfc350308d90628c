-- Rows at fault, in the order of their lines.
SELECT line, fault, culprit, raw FROM spooled WHERE fault IS NOT NULL ORDER BY line
