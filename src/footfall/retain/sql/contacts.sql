-- How each person can be reached: the newest trait of each kind that an identify or sign_up event told, '' taken back, which
-- ..._taken_back tells from one that was never told or is none. An
-- address with a control character is none, nor is an e-mail address of more than 254 bytes (RFC 5321, 4.5.3.1.3).
WITH told AS (
    SELECT person, row_number() OVER (ORDER BY ts, message_id) AS place,
           json_extract_string(properties, ['$.email', '$.traits.email', '$.phone', '$.traits.phone', '$.timezone',
                                            '$.traits.timezone', '$.language', '$.traits.language', '$.locale',
                                            '$.name', '$.traits.name']) AS t
    FROM trait_events
    WHERE name IN ('identify', 'sign_up') AND properties IS NOT NULL AND day <= CAST($as_of AS DATE)
),
trait AS (
    SELECT person, place, coalesce(t[1], t[2]) AS email, coalesce(t[3], t[4]) AS phone,
           coalesce(t[5], t[6]) AS timezone, coalesce(t[7], t[8], t[9]) AS language, coalesce(t[10], t[11]) AS name
    FROM told
)
SELECT person,
       nullif(arg_max(CASE WHEN regexp_matches(email, '[\x00-\x1f\x7f]') OR strlen(email) > 254 THEN '' ELSE email END, place), '') AS email,
       nullif(arg_max(CASE WHEN regexp_matches(phone, '[\x00-\x1f\x7f]') THEN '' ELSE phone END, place), '') AS phone,
       nullif(arg_max(timezone, place), '') AS timezone,
       nullif(arg_max(language, place), '') AS language,
       nullif(arg_max(name, place), '') AS name,
       arg_max(email, place) = '' AS email_taken_back,
       arg_max(phone, place) = '' AS phone_taken_back
FROM trait
GROUP BY person
