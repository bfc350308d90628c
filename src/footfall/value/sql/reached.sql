-- Events, touched or not, that ties lead to from touched ones. (EXISTS ... IS TRUE where a join would say the same: the
-- optimiser thinks few events are left after the filter on days, and would build its hash table of them.)
CREATE OR REPLACE TEMPORARY TABLE reached AS
SELECT *, TRUE AS is_wanted
FROM (
    -- orders and refunds of touched pairs
    SELECT {raw_columns}
    FROM money_keys e
    JOIN touched_pairs p ON p.person = e.person AND p.provider_id = e.provider_id
    WHERE e.is_now
    UNION ALL
    -- refunds that name an order, and no provider
    SELECT {raw_columns}
    FROM money_keys e
    JOIN touched_ids i ON i.kind = 'order' AND i.id = e.order_id
    WHERE e.is_now AND e.is_refund AND e.provider_id IS NULL
    UNION ALL
    -- visits with a visit_id, as a whole
    SELECT {raw_columns}
    FROM person_events e
    JOIN touched_ids i ON i.kind = 'visit' AND i.id = e.visit_id AND i.place = e.provider_id
    WHERE e.name IN ({visit_events}) AND e.visit_id IS NOT NULL
    UNION ALL
    -- single visits without a visit_id at other pairs
    SELECT {raw_columns}
    FROM person_events e
    JOIN touched_days k ON k.person = e.person AND k.provider_id = e.provider_id AND k.day = e.day
    WHERE e.name IN ({visit_events}) AND e.visit_id IS NULL
      AND e.day BETWEEN $first_touched_day AND $last_touched_day
) whole
UNION ALL
-- visits without a visit_id, of touched pairs: only the days that can matter, and no message_id where ties do not
-- matter either (it is most of what a scan costs). Persons are looked up first, which leaves few events to look up
-- the pair of; and so few are left then that their name is asked for last.
SELECT {visit_columns_read}, e.name IN ({visit_events}) AS is_wanted
FROM person_events e
WHERE e.visit_id IS NULL
  AND e.day BETWEEN $first_day AND $last_day
  AND (e.person IN (SELECT p.person FROM touched_pairs p)) IS TRUE
  AND (EXISTS (SELECT 1 FROM touched_pairs p WHERE p.person = e.person AND p.provider_id = e.provider_id)) IS TRUE
