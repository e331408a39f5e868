"""Faults: parsed from the command line, striking exactly when they said they would."""

import pytest

from wpsload.errors import ConfigError
from wpsload.standin.faults import FAULTS, Fault, Faults, parse_fault


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
    ],
)
def test_bad_fault_is_a_config_error(text: str, said: str) -> None:
    """An unknown name, key or value is refused, with what was seen and what would do."""
    with pytest.raises(ConfigError) as failure:
        parse_fault(text)
    assert said in failure.value.message
    assert failure.value.hint


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_needs_only_every(name: str) -> None:
    """Each listed fault works with nothing but how often, and says what it does."""
    assert Fault(name, 2) == parse_fault(f"{name}:every=2")
    assert FAULTS[name].meaning
    assert FAULTS[name].opportunity


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
