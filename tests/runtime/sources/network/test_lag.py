"""Pictures that wait are left out, so that what is shown never grows older."""

from __future__ import annotations

import pytest

from tdfusion_edge.runtime.sources.network.lag import Lag

MS = 1_000_000
PERIOD = 33 * MS


def shown(
    decoding_ms: float, showing_ms: float, seconds: float, keys: int = 30, backlog: int = 0
) -> list[float]:
    """Ages in ms at which pictures are shown, by a machine that takes so long for each.

    Args:
        decoding_ms: To decode a picture.
        showing_ms: To convert and hand out one that is shown.
        seconds: Of the stream.
        keys: Every so many pictures one comes that needs no other.
        backlog: So many pictures wait at the start.
    """
    now, lag, ages = backlog * PERIOD, Lag(backlog * PERIOD), list[float]()
    begun = False
    for number in range(int(seconds * 1e9 / PERIOD)):
        came = max(now, number * PERIOD)
        lag.waited(now, came)
        now = came
        if number % keys == 0:
            lag.key()
            begun = True
        if not begun or lag.hopeless:
            continue
        now += round(decoding_ms * MS)
        if lag.shows(now):
            ages.append((now - number * PERIOD) / MS)
            now += round(showing_ms * MS)
    return ages


def test_who_keeps_up_shows_everything() -> None:
    ages = shown(5, 5, 20)
    assert len(ages) >= int(20e9 / PERIOD) - 1, "all but the first, before which nothing was waited for"
    assert max(ages) < 10


@pytest.mark.parametrize("backlog", [3, 30])
def test_what_gathered_before_the_start_is_passed_over(backlog: int) -> None:
    ages = shown(1, 1, 10, backlog=backlog)
    assert max(ages) < 3
    assert len(ages) > 10 * 30 - backlog - 10


def test_a_machine_too_slow_to_show_all_shows_the_newest() -> None:
    ages = shown(10, 40, 60)
    assert len(ages) > 60 * 4
    assert max(ages[len(ages) // 2 :]) < 600


def test_a_machine_too_slow_to_decode_all_goes_on_at_whole_pictures() -> None:
    ages = shown(60, 10, 120)
    assert len(ages) > 120
    assert max(ages) < 3000, "and not a minute, as it would be if all were decoded"
    assert max(ages[len(ages) // 2 :]) == pytest.approx(max(ages[: len(ages) // 2]), rel=0.3)


def test_a_pause_of_the_network_is_no_lateness() -> None:
    lag = Lag(0)
    lag.waited(0, PERIOD)
    assert lag.shows(PERIOD)
    lag.waited(PERIOD, 5_000 * MS)  # nothing came for five seconds, and then a picture
    assert lag.late_ns == 0
    assert lag.shows(5_000 * MS)
