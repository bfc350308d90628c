-- Orders and refunds that were read to count them, as the log has them.
SELECT {raw_columns} FROM money e
