-- Messages that wait, and that what came after them has overtaken: who wants none, bought, left the audience, turned out
-- to be held out, has no consent or no address any more gets none; who has another address gets it there.
SELECT w.message_id, a.address,
       CASE WHEN l.person IS NOT NULL THEN 'unsubscribed'
            WHEN $consent <> 'opt-out'
                 AND NOT EXISTS (SELECT 1 FROM fans f WHERE f.person = w.person AND f.subscribed) THEN 'no consent'
            WHEN w.ends_with_purchase AND o.ts > w.since THEN 'bought'
            WHEN w.has_left THEN 'left'
            WHEN w.is_held_out THEN 'holdout'
            WHEN a.address IS NULL THEN 'no address any more' END AS reason
FROM given_waiting w
LEFT JOIN given_addresses a ON a.person = w.person
LEFT JOIN leavers l ON l.person = w.person
LEFT JOIN last_order o ON o.person = w.person
WHERE reason IS NOT NULL OR a.address <> w.address
ORDER BY w.message_id
