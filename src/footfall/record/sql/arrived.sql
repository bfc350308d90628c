-- Events of the inbox as they were written there; each line is one of gate.Row, and its number in their order.
CREATE OR REPLACE TEMPORARY TABLE arrived AS
SELECT *
FROM read_json(
    getvariable('footfall_arrived'),
    format = 'newline_delimited',
    records = true,
    ignore_errors = true,
    maximum_object_size = getvariable('footfall_longest'),
    columns = {
        line: 'BIGINT', message_id: 'VARCHAR', ts: 'VARCHAR', name: 'VARCHAR', visitor_id: 'VARCHAR', user_id: 'VARCHAR',
        previous_id: 'VARCHAR', visit_id: 'VARCHAR', provider_id: 'VARCHAR', item_id: 'VARCHAR', order_id: 'VARCHAR',
        amount_minor: 'VARCHAR', category: 'VARCHAR', channel: 'VARCHAR', campaign: 'VARCHAR', device: 'VARCHAR',
        country: 'VARCHAR', "position": 'VARCHAR', propensity: 'VARCHAR', properties: 'JSON', locale: 'VARCHAR',
        source: 'VARCHAR', received_at: 'VARCHAR'
    }
)
