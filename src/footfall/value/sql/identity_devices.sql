-- Devices that have both anonymous events and users: the users' least and greatest root, which agree where it is one.
CREATE OR REPLACE TEMPORARY TABLE {when}_devices AS
SELECT e.visitor_id,
       min(coalesce(r.root, e.user_id)) AS user_id,
       max(coalesce(r.root, e.user_id)) AS other_user_id
FROM {source} e
LEFT JOIN {when}_roots r ON r.user_id = e.user_id
WHERE e.user_id IS NOT NULL
  AND e.visitor_id IN (SELECT a.visitor_id FROM {source} a WHERE a.user_id IS NULL AND a.visitor_id IS NOT NULL)
GROUP BY e.visitor_id
