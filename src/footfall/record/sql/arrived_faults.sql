-- Drained events that no longer pass (settings changed since they were taken), as they stood in the inbox.
SELECT s.line, s.fault, s.culprit, a.source, CAST(json_merge_patch(to_json(a), '{"line": null}') AS VARCHAR) AS raw
FROM spooled AS s
JOIN arrived AS a ON a.line = s.line
WHERE s.fault IS NOT NULL
ORDER BY s.line
