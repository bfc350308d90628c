-- Live decisions that reserved something, one row for each choice, of a day and of the day before it (its reservations
-- may be kept after midnight). Repeats reserve nothing. Choices and reservations are JSON arrays of the same length.
CREATE OR REPLACE TEMPORARY TABLE live_choices AS
SELECT message_id,
       ts,
       day,
       worker_id,
       unnest(from_json(choices, '["VARCHAR"]')) AS provider_id,
       unnest(from_json(reserved, '["BIGINT"]')) AS reserved
FROM decisions
WHERE day >= $before AND day <= $day AND mode = 'live' AND repeat_of IS NULL
