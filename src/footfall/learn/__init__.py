"""Learn: was the plan right, and would another have been better?

In: the log, plans and their decisions. Out: measured lifts, and a simulated marketplace whose truth is known, in which
everything else is tried first.

    market.py     settings and the truth of the simulated marketplace: rates of each day, what a visit is worth
    journeys.py   draws of journeys: who comes, comes again, buys, sends back
    simulate.py   the marketplace itself: one day's events after the other, open or closed loop
"""
