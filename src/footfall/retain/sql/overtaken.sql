-- Messages that wait, and that what came after them has overtaken: who wants none, bought, left the audience, turned out
-- to be held out, has no consent or no address any more gets none; who has another address gets it there; zone (for
-- quiet hours), name and language are the newest.
SELECT *
FROM (
    SELECT w.message_id, a.address, coalesce(t.language, $language) AS language,
           CASE WHEN coalesce(c.timezone, '') = coalesce(w.context ->> '$.timezone', '')
                     AND coalesce(c.name, '') = coalesce(w.context ->> '$.name', '') THEN w.context
                ELSE CAST(json_merge_patch(w.context, json_object('timezone', coalesce(c.timezone, ''),
                                                                  'name', coalesce(c.name, ''))) AS VARCHAR)
           END AS context,
           CASE WHEN s.name = 'unsubscribe' THEN 'unsubscribed'
                WHEN s.name IS NULL AND $consent <> 'opt-out' THEN 'no consent'
                WHEN w.ends_with_purchase AND o.ts > w.since THEN 'bought'
                WHEN w.has_left THEN 'left'
                WHEN w.is_held_out THEN 'holdout'
                WHEN a.address IS NULL THEN 'no address any more' END AS reason,
           w.address AS old_address, w.language AS old_language, w.context AS old_context
    FROM given_waiting w
    LEFT JOIN given_addresses a ON a.person = w.person
    LEFT JOIN contacts c ON c.person = w.person
    LEFT JOIN given_spoken t ON t.told = c.language
    LEFT JOIN words s ON s.person = w.person
    LEFT JOIN last_order o ON o.person = w.person
) AS looked
WHERE reason IS NOT NULL OR address <> old_address OR language <> old_language OR context <> old_context
ORDER BY message_id
