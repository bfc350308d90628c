"""Record: files and frames in; validated, de-duplicated events in the log out, and what is wrong with the rest.

Nothing is guessed silently: a row that does not fit is kept aside with file, line, field and reason.
"""
