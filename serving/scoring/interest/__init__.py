"""What will this user buy next? What training, serving and the benchmark share: statistics, candidates, features.

`statistics` holds what is known about items (arrays, saved as .npy), `lines` puts histories into its numbers,
`candidates` names the items worth a score and `features` describes each pair of user and item.
"""
