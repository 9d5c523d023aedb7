"""`userops forget`: one person out of every place where something is kept of persons, in an order that survives a kill.

::

    decision log ─► events ─► snapshots ─► online store ─► forecasts, desk, reports, log lines ─► identities ─► audit
      (list)         (list)

Both lists come before what they guard: from then on nothing that was on its way is written any more. The identities of
the person come last but one: until then the same command finds the same person, wherever it was killed.
"""
