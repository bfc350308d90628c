"""Learn: was the plan right, and would another have been better?

In: the log, plans and their decisions. Out: measured lifts, and a simulated marketplace whose truth is known,
in which everything else is tried first.

    market.py     settings of the simulated marketplace
    world.py      its truth: rates of each day, what a journey and a visit are worth
    journeys.py   draws of journeys: who comes, comes again, buys, sends back
    events.py     what is logged of them
    simulate.py   the marketplace itself: one day's events after the other, open or closed loop
"""
