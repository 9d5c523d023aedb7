"""The decision itself: pure functions from what is known about one moment to what is shown, and why not the rest."""
