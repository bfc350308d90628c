-- Events of the inbox with sql/check.sql's verdicts (`verdicts`), each with its own source and time of receipt.
CREATE OR REPLACE TEMPORARY TABLE spooled AS
SELECT
    v.line, v.fault, v.culprit, v.computed, v.message_id, v.ts, v.day, v.name, v.visitor_id, v.user_id, v.previous_id,
    v.visit_id, v.provider_id, v.item_id, v.order_id, v.amount_minor, v.category, v.channel, v.campaign, v.device,
    v.country, v."position", v.propensity, v.properties, a.source,
    CAST(CAST(a.received_at AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP) AS received_at
FROM verdicts AS v
JOIN arrived AS a ON a.line = v.line
