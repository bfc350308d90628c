-- What persons did beside visiting and buying, read from the log once: carts, follows and subscriptions, word of mouth.
CREATE OR REPLACE TEMPORARY TABLE acts AS
SELECT person, ts, day, name, provider_id, amount_minor
FROM person_events
WHERE name IN ('add_to_cart', 'remove_from_cart', 'begin_checkout', 'add_payment_info', 'follow', 'unfollow', 'subscribe', 'unsubscribe',
               'share', 'like', 'comment')
