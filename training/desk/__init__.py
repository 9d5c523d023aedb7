"""What reviewers read of a version: files in ``home/desk/<model>/<version>/``, written when it is trained.

``card.json`` says what the version is and how good, ``learned/<head>.json`` what it learned, ``checks.json`` what the
checks found, ``versus-<other>.json`` who moves when it takes over from another. The console reads them
(`serving.console.desk`); the version's MLflow run holds them under ``desk/`` with the ids of users hashed.
"""
