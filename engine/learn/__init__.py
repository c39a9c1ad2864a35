"""Learning: the one loop that tunes, measures, chooses and keeps, and the backends that compute it."""
