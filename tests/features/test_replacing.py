"""A person's own small files, from ingest to publication: replaced, poor in columns, with one bad number."""

from datetime import UTC, datetime

import pytest

from configs import load
from configs.errors import EventsError
from features import online, vectors
from features.build import TABLES, build
from features.events import span
from features.ingest import ingest
from features.ledger import Ledger
from features.snapshots import snapshots
from features.store import Store

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MAPPING = """
read: {kind: csv}
columns:
  user_id: customer
  event_type: "'purchase'"
  event_at: strptime(day, '%Y-%m-%d')
  ingested_at: event_at
  amount: CAST(price AS DOUBLE)
filters: {price_positive: CAST(price AS DOUBLE) > 0}
dedup: exact
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "till.yaml").write_text("about: a till" + MAPPING, encoding="utf-8")

    def write(name: str, *lines: str):
        path = tmp_path / name
        path.write_text("customer,day,price\n" + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return load(tmp_path / "home", NOW), tmp_path / "till.yaml", write


def test_one_bad_number_is_one_refused_line_also_when_a_filter_casts_it_again(shop):
    config, mapping, write = shop
    report = ingest(config, mapping, write("a.csv", "u1,2024-05-01,3.50", 'u2,2024-05-02,"3,50"', "u3,2024-05-03,9"))
    assert (report.read, report.accepted, report.quarantined) == (3, 2, 1)


def test_a_source_without_categories_and_items_builds_every_table(shop):
    config, mapping, write = shop
    ingest(config, mapping, write("a.csv", "u1,2024-05-01,3.50", "u2,2024-05-02,4"))
    report = build(config, [NOW], tables=tuple(TABLES))
    assert report.tables["user"]["rows"] == report.tables["profile"]["rows"] == 2
    assert report.tables["item"]["rows"] == 0


def test_what_was_replaced_is_gone_everywhere(shop):
    config, mapping, write = shop
    ingest(config, mapping, write("a.csv", "u1,2024-05-01,3.50", "gone,2024-05-02,4"))
    build(config, [NOW], tables=("user", "profile"))
    Store(config).publish()
    assert Store(config).online(["gone"]).found.tolist() == [True]
    ingest(config, mapping, write("b.csv", "u1,2024-05-01,3.50"), replace=True)
    assert snapshots(config, "user") == []
    later = load(config.home, datetime(2024, 6, 2, tzinfo=UTC))
    build(later, [datetime(2024, 6, 2, tzinfo=UTC)], tables=("user", "profile"))
    Store(later).publish()
    assert Store(later).online(["u1", "gone"]).found.tolist() == [True, False]
    assert Store(later).profiles(["gone"]) == [None]
    everybody = [key for part in Store(later).published.scan((online.VECTOR,), 10) for key, _ in part]
    assert everybody == vectors.entity_keys(["u1"])


def test_nothing_never_takes_the_place_of_something(shop):
    config, mapping, write = shop
    ingest(config, mapping, write("a.csv", "u1,2024-05-01,3.50"))
    before = span(config)
    with pytest.raises(EventsError, match="nothing to replace the events of till with"):
        ingest(config, mapping, write("b.csv", "u1,01.05.2024,3.50"), replace=True)
    assert span(config) == before
    assert [batch.accepted for batch in Ledger(config).batches()] == [1]
