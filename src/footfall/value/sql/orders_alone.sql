-- Orders without their visits, where only refunds.sql is to find the order of each refund.
CREATE OR REPLACE TEMPORARY TABLE orders AS
SELECT purchase, message_id, ts, day AS order_day, person, provider_id, order_id, amount_minor,
       day AS visit_day, 0 AS delay_days, CAST(NULL AS VARCHAR) AS visit_id, person AS visit_person,
       {columns}
FROM purchases
