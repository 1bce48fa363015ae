"""Which device for which star, and why not the others.

demand     what stars ask of devices, and which devices can do it: feasibility, with reasons
ready      the queue of ready stars; shares  whose turn it is
weighing   what a star would cost where: durations (learned), inputs (to be moved), timeline (when slots are free),
           outlook (what is behind the star)
policy     what a policy is; heft (the default), fastest_start, least_loaded, round_robin; policies  them by name
placer     what is ready and what is free brought together, as events
"""
