-- How each person can be reached: the newest trait of each kind that an identify or sign_up event told, '' taken back.
WITH told AS (
    SELECT p.person, e.ts, e.message_id,
           coalesce(json_extract_string(e.properties, '$.email'), json_extract_string(e.properties, '$.traits.email')) AS email,
           coalesce(json_extract_string(e.properties, '$.phone'), json_extract_string(e.properties, '$.traits.phone')) AS phone,
           coalesce(json_extract_string(e.properties, '$.timezone'), json_extract_string(e.properties, '$.traits.timezone')) AS timezone,
           coalesce(json_extract_string(e.properties, '$.language'), json_extract_string(e.properties, '$.traits.language'),
                    json_extract_string(e.properties, '$.locale')) AS language,
           coalesce(json_extract_string(e.properties, '$.name'), json_extract_string(e.properties, '$.traits.name')) AS name
    FROM events e
    JOIN person_events p ON p.message_id = e.message_id AND p.day = e.day
    WHERE e.name IN ('identify', 'sign_up') AND e.properties IS NOT NULL AND e.day <= CAST($as_of AS DATE)
)
SELECT person,
       nullif(arg_max(email, (ts, message_id)) FILTER (WHERE email IS NOT NULL), '') AS email,
       nullif(arg_max(phone, (ts, message_id)) FILTER (WHERE phone IS NOT NULL), '') AS phone,
       nullif(arg_max(timezone, (ts, message_id)) FILTER (WHERE timezone IS NOT NULL), '') AS timezone,
       nullif(arg_max(language, (ts, message_id)) FILTER (WHERE language IS NOT NULL), '') AS language,
       nullif(arg_max(name, (ts, message_id)) FILTER (WHERE name IS NOT NULL), '') AS name
FROM told
GROUP BY person
ORDER BY person
