"""Expected spend, exactly explained: the probability of a purchase, the amount of those who buy, tiers of customers.

Like the rest of ``serving.scoring`` it imports ``configs`` only.
"""
