"""Galaxy: plans constellations of subtasks and runs them across the devices that people own."""
