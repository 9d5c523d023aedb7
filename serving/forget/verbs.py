"""`userops forget USER`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from configs import load
from configs.terminal import JsonFile, Lang, console, print_table, showing, write_json

__all__ = ["forgetting"]


def forgetting(what_training_keeps: Callable[[], object]) -> Callable[..., None]:
    """The verb, which asks ``what_training_keeps`` (a `serving.forget.forget.Training`) only when it runs."""

    def forget(
        users: Annotated[
            list[str],
            typer.Argument(
                metavar="USER...",
                help="The id of a user, or NAMESPACE:ID of an identity of theirs; with --lift as many as you like.",
            ),
        ],
        lift: Annotated[
            bool,
            typer.Option("--lift", help="Only let somebody forgotten be known again from now on.", show_default="off"),
        ] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.", show_default="ask")] = False,
        lang: Lang = "en",
        json_file: JsonFile = None,
    ) -> None:
        """Erase a person from events, features, online store and logs; say what each place held. Not to be undone.

        Killed or failed half-way, the same command finishes; once more, it says that nothing is left. Nothing of the
        person comes back: ingest skips their lines, and the service refuses live events, decisions and wishes; until
        --lift, for somebody who returned.
        """
        from serving.forget.forget import Training
        from serving.forget.forget import forget as erase
        from serving.forget.forget import lift as take_off
        from serving.forget.person import person_of
        from serving.forget.words import SAID
        from serving.log import DecisionLog

        if len(users) > 1 and not lift:
            raise typer.BadParameter("one person at a time: each is asked for, and takes seconds")
        config, training = load(), what_training_keeps()
        assert isinstance(training, Training)
        # The file of the home may hold what was logged before a server did it.
        file = config.home / "decisions.db"
        uris = {config.decisions_uri} | ({f"sqlite:///{file}"} if file.exists() else set())
        logs = [DecisionLog.open(uri) for uri in sorted(uris)]
        try:
            if lift:
                with showing("lifting") as show:
                    lists = sum(take_off(config, logs, person_of(logs, one), show) for one in users)
                console.print(SAID["lifted" if lists else "not_listed"][lang].format(lists=lists), highlight=False)
                write_json(json_file, {"lists": lists})
                return
            person = person_of(logs, users[0])
            if not yes:
                names = ", ".join(map(repr, person.user_ids[1:]))
                others = SAID["others"][lang].format(names=names) if names else ""
                asked = SAID["ask"][lang].format(user_id=repr(person.user_id), others=others)
                if not typer.confirm(asked, err=True):
                    console.print(SAID["kept"][lang])
                    raise typer.Exit(1)
            with showing("forgetting") as show:
                done = erase(config, logs, person, training, show)
        finally:
            for log in logs:
                log.close()
        _print(done, lang)
        write_json(json_file, asdict(done) | {"removed": done.removed})

    return forget


def _print(done: object, lang: str) -> None:
    from serving.forget.forget import Done
    from serving.forget.words import PLACES, SAID

    assert isinstance(done, Done)

    def say(what: str, **values: object) -> None:
        console.print(SAID[what][lang].format(**values), markup=False, highlight=False, soft_wrap=True)

    digest = done.digest[:16]
    if done.nothing_left:
        say("nothing", digest=digest)
        return
    rows: list[list[object]] = [
        [PLACES[one.name][lang][0], f"{one.removed:,}", PLACES[one.name][lang][1]] for one in done.places
    ]
    print_table(SAID["title"][lang], SAID["columns"][lang].split("|"), rows, words=(2,))
    if done.removed:
        say("done", removed=f"{done.removed:,}", ids=done.ids, digest=digest)
    else:
        say("unknown", digest=digest)
    if done.audited is not None:
        say("audited", seq=done.audited)
    told = "; ".join(f"{model} {', '.join(versions)}" for model, versions in done.versions.items())
    if done.removed:
        say("no_models" if not told else "models" if done.first_event_known else "all_models", versions=told)
    if done.artefacts_named is None:
        say("elsewhere")
    else:
        say("hashed", named=done.artefacts_named, hashed=done.artefacts_hashed)
    if done.scratch:
        say("scratch", scratch=done.scratch)
    say("yours")
