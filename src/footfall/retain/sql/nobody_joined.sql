-- A log in which persons are devices: nobody was joined to anybody.
CREATE OR REPLACE TEMPORARY TABLE now_roots (user_id VARCHAR, root VARCHAR);
CREATE OR REPLACE TEMPORARY TABLE now_devices (visitor_id VARCHAR, user_id VARCHAR, other_user_id VARCHAR);
CREATE OR REPLACE TEMPORARY TABLE now_spans (visitor_id VARCHAR, user_id VARCHAR, since TIMESTAMP, until TIMESTAMP);
