-- Rhythms with the time, provider and mean value of the purchases behind them.
CREATE OR REPLACE TEMPORARY TABLE rhythms AS
SELECT g.*, l.last_ts, l.last_provider_id, l.order_value, l.latest
FROM given_rhythms g
JOIN last_purchase l ON l.person = g.person AND l.category = g.category
