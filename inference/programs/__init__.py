"""Models and guides as programs: traces with particles, replays, checks of sites, values of sites."""
