"""`bot bench serve`: the engine's speed beside what else there is, in one run on one machine."""
