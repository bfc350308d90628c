-- Every key of the well-formed objects of an NDJSON file.
SELECT DISTINCT unnest(names) AS name
FROM (
    SELECT DISTINCT json_keys(json) AS names
    FROM read_json_objects(getvariable('footfall_path'), format = 'newline_delimited', ignore_errors = true,
                           compression = 'none')
)
ORDER BY name
