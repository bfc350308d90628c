"""Value: from events to what a visit is worth.

In: the log (``Store``), settings, the recipe. Out: facts (counts and sums), and from them estimates and
forecasts.
"""
