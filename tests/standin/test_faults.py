"""Faults: parsed from the command line, striking exactly when they said they would."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.errors import ConfigError
from wpsload.standin.faults import FAULTS, Fault, Faults, parse_fault, share


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("refuse-connect:every=3,status=429", Fault("refuse-connect", 3, status=429)),
        ("refuse-connect:every=1", Fault("refuse-connect", 1, status=503)),
        ("drop-ack:every=100", Fault("drop-ack", 100)),
        ("fail-ack:name=Forbidden,every=2", Fault("fail-ack", 2, error="Forbidden")),
        ("fail-ack:every=2", Fault("fail-ack", 2, error="InternalServerError")),
        ("drop-delivery:every=7", Fault("drop-delivery", 7)),
        ("cut:every=5", Fault("cut", 5)),
        ("close:every=5,code=4000", Fault("close", 5, code=4000)),
        ("close:every=5", Fault("close", 5, code=1011)),
        ("duplicate-delivery:every=50", Fault("duplicate-delivery", 50)),
        ("reorder-delivery:every=9", Fault("reorder-delivery", 9, hold_s=1.0)),
        ("reorder-delivery:hold=200ms,every=9", Fault("reorder-delivery", 9, hold_s=0.2)),
        ("delay-delivery:every=9,by=1s", Fault("delay-delivery", 9, delay_s=1.0)),
        ("delay-ack:every=10", Fault("delay-ack", 10, delay_s=0.05)),
        ("delay-ack:every=10,by=48ms", Fault("delay-ack", 10, delay_s=0.048)),
        ("stall:after=3s", Fault("stall", after_s=3.0, length_s=1.0)),
        ("stall:after=3s,for=250ms", Fault("stall", after_s=3.0, length_s=0.25)),
        ("cut-connections:after=0s,share=100%", Fault("cut-connections", share_percent=100)),
        ("cut-connections:after=5", Fault("cut-connections", after_s=5.0, share_percent=10)),
    ],
)
def test_parse(text: str, fault: Fault) -> None:
    """A fault is a name and settings in any order; what is not set has its documented default."""
    assert fault == parse_fault(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unknown fault ''"),
        ("delay:every=1", "unknown fault 'delay'"),
        ("cut", "how often"),
        ("cut:", "how often"),
        ("cut:often=1", "no setting 'often'"),
        ("cut:every=1,status=503", "no setting 'status'"),
        ("cut:every", "cannot use every="),
        ("cut:every=0", "cannot use every=0"),
        ("cut:every=-1", "cannot use every=-1"),
        ("cut:every=1.5", "cannot use every=1.5"),
        ("cut:every=" + "9" * 5000, "cannot use every=9999"),
        ("cut:every=1,every=2", "sets every twice"),
        ("refuse-connect:every=1,status=200", "cannot use status=200"),
        ("close:every=1,code=1005", "cannot use code=1005"),
        ("close:every=1,code=5000", "cannot use code=5000"),
        ("fail-ack:every=1,name=Duplicate", "cannot use name=Duplicate"),
        ("delay-ack:every=1,by=soon", "cannot use by=soon"),
        ("delay-ack:every=1,by=0s", "cannot use by=0s"),
        ("delay-ack:every=1,by=1h", "cannot use by=1h"),
        ("reorder-delivery:every=1,hold=-1s", "cannot use hold=-1s"),
        ("stall", "does not say when"),
        ("stall:every=3", "no setting 'every'"),
        ("stall:after=2d", "cannot use after=2d"),
        ("stall:after=1s,for=0", "cannot use for=0"),
        ("stall:after=1s,after=2s", "sets after twice"),
        ("cut-connections:share=10%", "does not say when"),
        ("cut-connections:after=1s,share=10", "cannot use share=10"),
        ("cut-connections:after=1s,share=0%", "cannot use share=0%"),
        ("cut-connections:after=1s,share=101%", "cannot use share=101%"),
        ("cut-connections:after=1s,share=" + "9" * 5000 + "%", "cannot use share=999"),
    ],
)
def test_bad_fault_is_a_config_error(text: str, said: str) -> None:
    """An unknown name, key or value is refused, with what was seen and what would do."""
    with pytest.raises(ConfigError) as failure:
        parse_fault(text)
    assert said in failure.value.message
    assert failure.value.hint


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_needs_only_when(name: str) -> None:
    """Each listed fault works with nothing but how often or when, and says what it does."""
    kind = FAULTS[name]
    expected = Fault(name, after_s=2.0) if kind.opportunity is None else Fault(name, 2)
    assert expected == parse_fault(f"{name}:{kind.when}=2")
    assert kind.meaning
    assert kind.opportunity != ""


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("drop-ack:every=3", {"name": "drop-ack", "every": 3}),
        ("fail-ack:every=3", {"name": "fail-ack", "every": 3, "error": "InternalServerError"}),
        ("delay-ack:every=3", {"name": "delay-ack", "every": 3, "delay_ns": 50_000_000}),
        (
            "stall:after=3s,for=250ms",
            {"name": "stall", "after_ns": 3_000_000_000, "length_ns": 250_000_000},
        ),
    ],
)
def test_settings_are_told_with_units(text: str, settings: dict[str, int | str]) -> None:
    """What a fault was asked to do can be read afterwards, defaults included."""
    assert [settings] == Faults([parse_fault(text)]).settings()


@given(st.integers(0, 500), st.integers(1, 100))
def test_share(count: int, percent: int) -> None:
    """A share is rounded down and spread evenly: among any first ones it is the same share."""
    ids = [str(number) for number in range(count)]
    taken = share(ids, percent)
    assert len(taken) == count * percent // 100
    for first in range(count):
        assert len(set(ids[:first]) & set(taken)) == first * percent // 100


def test_due_leaves_counting_to_the_caller() -> None:
    """It counts the opportunity, but not yet the injection."""
    faults = Faults([Fault("delay-ack", 2)])
    assert [each is not None for each in (faults.due("delay-ack") for _ in range(4))] == [
        *(False, True, False, True)
    ]
    assert faults.injected == {}
    assert faults["delay-ack"].every == 2


@pytest.mark.parametrize(
    ("every", "struck"), [(1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6]), (7, [7]), (8, [])]
)
def test_strikes_upon_every_nth_opportunity(every: int, struck: list[int]) -> None:
    """The Nth, 2Nth, … opportunity is struck, no other, and each injection is counted."""
    fault = Fault("cut", every)
    faults = Faults([fault])
    assert struck == [turn for turn in range(1, 8) if faults.strike("cut") is fault]
    assert faults.injected == ({"cut": len(struck)} if struck else {})


def test_faults_have_counters_of_their_own() -> None:
    """Opportunities of one fault do not bring another nearer; faults not asked for never strike."""
    faults = Faults([Fault("cut", 2), Fault("close", 2)])
    assert faults.strike("cut") is None
    assert faults.strike("close") is None
    assert faults.strike("drop-ack") is None
    assert faults.strike("cut") is not None
    assert faults.injected == {"cut": 1}


def test_membership_says_what_was_asked_for() -> None:
    """`in` tells whether a fault was asked for, and truth whether any was."""
    faults = Faults([Fault("cut", 2)])
    assert "cut" in faults
    assert "close" not in faults
    assert faults
    assert not Faults()


def test_a_fault_cannot_be_given_twice() -> None:
    """Two faults of one name would share a counter: refused."""
    with pytest.raises(ConfigError, match="cut is given twice"):
        Faults([Fault("cut", 2), Fault("cut", 3)])
