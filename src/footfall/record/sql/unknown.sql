-- Staged rows of the days in which some are known already, without those.
SELECT s.*
FROM staged AS s
WHERE s.day IN (SELECT day FROM known)
  AND NOT EXISTS (SELECT 1 FROM known AS k WHERE k.message_id = s.message_id AND k.day = s.day)
