-- Devices whose anonymous events, and users whose own events, belong to another person than before.
CREATE OR REPLACE TEMPORARY TABLE changed_persons AS
WITH devices AS (
    (SELECT * FROM now_devices EXCEPT SELECT * FROM before_devices)
    UNION ALL
    (SELECT * FROM before_devices EXCEPT SELECT * FROM now_devices)
),
spans AS (
    (SELECT * FROM now_spans EXCEPT SELECT * FROM before_spans)
    UNION ALL
    (SELECT * FROM before_spans EXCEPT SELECT * FROM now_spans)
)
SELECT visitor_id, CAST(NULL AS VARCHAR) AS user_id FROM devices
UNION
SELECT visitor_id, NULL FROM spans
UNION
SELECT NULL, coalesce(n.user_id, b.user_id)
FROM now_roots n
FULL JOIN before_roots b ON b.user_id = n.user_id
WHERE coalesce(n.root, b.user_id) <> coalesce(b.root, n.user_id)
