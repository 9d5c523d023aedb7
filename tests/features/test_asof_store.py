"""Our offline store behind Feast's own door: the thirteen cases in which Feast's stores differ, and an oracle."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, String
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import FeatureError

T0 = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TTL = timedelta(days=3)


def repo(folder, **offline):
    return RepoConfig(
        project="points",
        provider="local",
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        offline_store={"type": "features.asof_store.AsofOfflineStore", "threads": 1, **offline},
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("feast")


@pytest.fixture(scope="module")
def store(folder):
    left = Entity(name="left", join_keys=["a"], value_type=ValueType.STRING)
    right = Entity(name="right", join_keys=["b"], value_type=ValueType.STRING)
    source = FileSource(
        name="pairs",
        path="history/*.parquet",  # relative to the repository, wherever the process stands
        file_format=ParquetFormat(),
        timestamp_field="stamp",
        created_timestamp_column="created",
        field_mapping={"raw": "mapped"},
    )
    fields = [Field(name=name, dtype=Float64) for name in ("value_y", "mapped")]
    keys = [Field(name="a", dtype=String), Field(name="b", dtype=String)]
    views = [
        FeatureView(name="pair", entities=[left, right], ttl=TTL, schema=[*keys, *fields], source=source),
        FeatureView(name="single", entities=[left], ttl=timedelta(0), schema=[keys[0], fields[0]], source=source),
    ]
    (folder / "history").mkdir()
    store = FeatureStore(config=repo(folder))
    write(folder, [])
    store.apply([left, right, *views])
    return store


def write(folder, rows):
    columns = {
        "a": pa.array([key[0] for key, *_ in rows], pa.string()),
        "b": pa.array([key[1] for key, *_ in rows], pa.string()),
        "stamp": pa.array([T0 + row[1] * DAY for row in rows], pa.timestamp("us", "UTC")),
        "created": pa.array([T0 + row[2] * DAY for row in rows], pa.timestamp("us", "UTC")),
        "value_y": pa.array([row[3] for row in rows], pa.float64()),
        "raw": pa.array([row[3] for row in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), folder / "history" / "rows.parquet")


def asked_of(rows):
    frame = pd.DataFrame(
        {
            "label": np.arange(len(rows)),
            "a": [key[0] for key, _ in rows],
            "b": [key[1] for key, _ in rows],
            "event_timestamp": pd.Series([T0 + day * DAY for _, day in rows], dtype="datetime64[us, UTC]"),
        }
    )
    return frame.set_axis([3] * len(rows))


def ask(store, rows, features=("pair:value_y",), **options):
    return store.get_historical_features(entity_df=asked_of(rows), features=list(features), **options).to_df()


def null(value):
    return None if pd.isna(value) else value


pairs = st.sampled_from([("1", "11"), ("11", "1"), ("x", "y"), ("xy", "")])
days = st.integers(0, 6)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(pairs, days, days, st.one_of(st.none(), st.integers(0, 99))), max_size=10),
    asked=st.lists(st.tuples(pairs, days), min_size=1, max_size=10),
    as_known_then=st.booleans(),
)
def test_feast_answers_with_our_store_what_the_oracle_says(folder, store, rows, asked, as_known_then):
    write(folder, rows)
    answer = ask(store, asked, filter_by_created_timestamp=as_known_then)
    expected = []
    for key, day in asked:
        visible = [row for row in rows if row[0] == key and row[1] <= day and (row[2] <= day or not as_known_then)]
        newest = max(enumerate(visible), key=lambda one: (one[1][1], one[1][2], one[0]), default=(0, None))[1]
        expected.append(None if newest is None or T0 + newest[1] * DAY + TTL < T0 + day * DAY else newest[3])
    assert [null(value) for value in answer["value_y"]] == expected
    assert answer["label"].tolist() == list(range(len(asked)))
    assert answer["event_timestamp"].tolist() == asked_of(asked)["event_timestamp"].tolist()


def test_rows_of_one_key_and_instant_with_other_labels_all_stay(folder, store):
    write(folder, [(("x", "q"), 1, 1, 10), (("x", "r"), 1, 1, 20)])
    answer = ask(store, [(("x", "r"), 2), (("x", "q"), 2), (("x", "r"), 2)], ["single:value_y", "pair:mapped"])
    assert answer["label"].tolist() == [0, 1, 2]
    assert answer["mapped"].tolist() == [20, 10, 20]
    assert answer["value_y"].tolist() == [20, 20, 20]


def test_expired_future_and_unknown_answer_null_and_stay(folder, store):
    write(folder, [(("old", "q"), 0, 0, 1), (("new", "q"), 5, 5, 2), (("edge", "q"), 1, 1, 3)])
    answer = ask(store, [(("old", "q"), 4), (("new", "q"), 4), (("nobody", "q"), 4), (("edge", "q"), 4)])
    assert [null(value) for value in answer["value_y"]] == [None, None, None, 3]
    forever = ask(store, [(("old", "q"), 400)], ["single:value_y"])
    assert forever["value_y"].tolist() == [1]


def test_full_names_carry_the_view(folder, store):
    write(folder, [(("x", "q"), 1, 1, 10)])
    answer = ask(store, [(("x", "q"), 1)], ["pair:value_y", "single:value_y"], full_feature_names=True)
    assert answer.columns.tolist()[-2:] == ["pair__value_y", "single__value_y"]
    assert answer.iloc[0, -2:].tolist() == [10, 10]


def test_naive_and_text_instants_mean_utc(folder, store):
    write(folder, [(("x", "q"), 1, 1, 10), (("x", "q"), 2, 2, 20)])
    for instants in (pd.to_datetime(["2024-03-02T12:00"]), pd.to_datetime(["2024-03-02T21:00+09:00"])):
        frame = pd.DataFrame({"a": ["x"], "b": ["q"], "event_timestamp": instants})
        answer = store.get_historical_features(entity_df=frame, features=["pair:value_y"]).to_df()
        assert answer["value_y"].tolist() == [10]
        assert str(answer["event_timestamp"].dtype.tz) == "UTC"


def test_known_at_hides_what_was_written_later(folder, store):
    write(folder, [(("x", "q"), 1, 1, 10), (("x", "q"), 2, 9, 20)])
    then = FeatureStore(config=repo(folder, known_at=T0 + 5 * DAY))
    later = FeatureStore(config=repo(folder, known_at=T0 + 9 * DAY))
    assert ask(then, [(("x", "q"), 3)])["value_y"].tolist() == [10]
    assert ask(later, [(("x", "q"), 3)])["value_y"].tolist() == [20]


def test_a_retrieval_can_be_kept_as_a_dataset(folder, store):
    write(folder, [(("x", "q"), 1, 1, 10)])
    job = store.get_historical_features(entity_df=asked_of([(("x", "q"), 1)]), features=["pair:value_y"])
    job.persist(SavedDatasetFileStorage(path=str(folder / "kept.parquet")))
    assert pq.read_table(folder / "kept.parquet")["value_y"].to_pylist() == [10]
    assert job.metadata.features == ["pair:value_y"]
    assert job.metadata.max_event_timestamp == T0 + DAY


def test_materialize_takes_the_newest_row_of_each_key_in_the_window(folder, store, capsys):
    write(folder, [(("x", "q"), 1, 1, 10), (("x", "q"), 2, 1, 20), (("x", "q"), 2, 2, 30), (("x", "q"), 3, 3, 40)])
    store.materialize(T0, T0 + 2 * DAY, feature_views=["pair"])
    answer = store.get_online_features(features=["pair:value_y"], entity_rows=[{"a": "x", "b": "q"}]).to_dict()
    assert answer["value_y"] == [30]
    assert "pair" in capsys.readouterr().out


def test_entity_rows_must_be_a_frame(store):
    with pytest.raises(FeatureError, match="must be a frame"):
        store.get_historical_features(entity_df="SELECT 1", features=["pair:value_y"])
