-- The attached day's decisions, the person's ones without visitor and context: what was drawn and reserved stays true.
SELECT
    d.message_id, d.ts, d.day, CASE WHEN g.message_id IS NULL THEN d.visitor_id END AS visitor_id, d.segment,
    d.candidates, d.unavailable, d.eligible, d.slots, d.choices, d.propensities, d.reserved, d.explore, d.mode,
    d.answered, d.repeat_of, d.reason, d.plan_version, d.pacing_version, d.worker_id,
    CASE WHEN g.message_id IS NULL THEN d.context END AS context, d.source, d.batch_id, d.received_at
FROM decisions d
LEFT JOIN doomed_decisions g ON g.day = d.day AND g.message_id = d.message_id
ORDER BY d.ts, d.message_id
