"""Who may become champion, who says so, and the way back: every move leaves a record that cannot be unwritten.

::

    sign ──► judge (metrics · heads · artefact · comparison · checks · own files · approval) ──► promote ──► release
                                                                        rollback ◄──┘
"""
