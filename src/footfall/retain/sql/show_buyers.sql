-- Customers with the time and provider of their last purchase.
CREATE OR REPLACE TEMPORARY TABLE buyers AS
SELECT g.*, d.last_ts, d.last_provider_id
FROM given_buyers g
LEFT JOIN purchase_days d ON d.person = g.person AND d.day = g.last_day
