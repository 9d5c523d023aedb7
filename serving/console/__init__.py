"""The reviewers' desk: pages for people, beside the endpoints for machines, in the same process.

Reads what training wrote for reviewers (``home/desk``), the release in force, the online store and the decision log;
writes nothing but signatures, into the audit table. No page asks anything of another origin.
"""
