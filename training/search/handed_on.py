"""What a search found goes on from champion to challenger: training again must not fall back behind it."""

from __future__ import annotations

from configs import Config
from training.registry import CHAMPION, Registry
from training.search.decide import BETTER, HANDED_ON, Decision

__all__ = ["handed_on"]


def handed_on(config: Config, name: str) -> Decision | None:
    """The champion's parameters, if a search confirmed them or they were handed on to it; else None.

    The evidence is that of the search, so that whoever judges the new version knows which labels chose its parameters.
    """
    registry = Registry(config)
    if (version := registry.aliased(name, CHAMPION)) is None:
        return None
    champion = registry.version(name, version)
    if champion.tags.get("search") not in (BETTER, HANDED_ON):
        return None
    meta = registry.read_json(champion.run_id, "model/model.json")
    search = meta.get("training", {}).get("search") or {}
    words = {
        "en": f"the parameters that a search found are kept from the champion, version {version} "
        f"(userops train {name} --defaults goes back to configs/models/{name}.yaml)",
        "zh": f"沿用当前冠军（版本{version}）由搜索得到的参数"
        f"（userops train {name} --defaults 可恢复 configs/models/{name}.yaml 中的默认参数）",
    }
    run_id = search.get("run_id") or champion.tags.get("search_run_id", "")
    evidence = {**search, "run_id": run_id, "outcome": HANDED_ON, "handed_on_by": version, "words": words}
    return Decision(HANDED_ON, dict(meta["recipe"]["lightgbm"]), words, evidence)
