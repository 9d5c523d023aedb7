"""Interest: from many users' histories to item-side statistics, ranking examples and a model of the next purchase."""
