import polars as pl

from covost.corpus.same_keys import SameKeys


def test_equal_keys_are_looked_up_once() -> None:
    asked = []

    def function(keys: pl.DataFrame) -> pl.DataFrame:
        asked.append(keys["key"].to_list())
        return keys.select(pl.col("key").str.to_uppercase())

    look_up = SameKeys(function)
    for keys in (["a", "b"], ["a", "b"], ["b", "a"], ["b", None], ["b", None], ["a", "b"]):
        found = look_up(pl.DataFrame({"key": keys}))
        assert found["key"].to_list() == [key and key.upper() for key in keys]
    assert asked == [["a", "b"], ["b", "a"], ["b", None], ["a", "b"]]
