-- Messages that wait, and that what came after them has overtaken: who wants none, bought, left the audience, turned out
-- to be held out, has no consent or took the address back gets none; who has another address gets it there, and whose
-- address the log does not tell waits; zone (for quiet hours), name and language are the newest.
SELECT *
FROM (
    SELECT w.message_id, r.address, coalesce(t.language, $language) AS language,
           CASE WHEN coalesce(r.timezone, '') = coalesce(w.context ->> '$.timezone', '')
                     AND coalesce(r.name, '') = coalesce(w.context ->> '$.name', '') THEN w.context
                ELSE CAST(json_merge_patch(w.context, json_object('timezone', coalesce(r.timezone, ''),
                                                                  'name', coalesce(r.name, ''))) AS VARCHAR)
           END AS context,
           CASE WHEN r.why_not <> $no_address THEN r.why_not
                WHEN w.ends_with_purchase AND o.ts > w.since THEN 'bought'
                WHEN w.has_left THEN 'left'
                WHEN w.is_held_out THEN 'holdout' END AS reason,
           w.address AS old_address, w.language AS old_language, w.context AS old_context, w.lacks_address
    FROM given_waiting w
    JOIN given_reach r ON r.person = w.person
    LEFT JOIN given_spoken t ON t.told = r.language
    LEFT JOIN last_order o ON o.person = w.person
) AS looked
WHERE reason IS NOT NULL OR address IS NULL OR lacks_address
   OR address <> old_address OR language <> old_language OR context <> old_context
ORDER BY message_id
