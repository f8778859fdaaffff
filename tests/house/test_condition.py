"""Stop conditions: what can be said, what is refused, and that nothing is ever evaluated."""

import math

import pytest

from nbkit._condition import Condition, ConditionError


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("test/accuracy>0.99", Condition("test/accuracy", ">", 0.99)),
        (" train/loss  <= 1e-3 ", Condition("train/loss", "<=", 1e-3)),
        ("a.b-c_d/e2>=-4", Condition("a.b-c_d/e2", ">=", -4.0)),
        ("x<inf", Condition("x", "<", math.inf)),
    ],
)
def test_reading(text: str, condition: Condition) -> None:
    assert Condition.parse(text) == condition
    assert Condition.parse(str(condition)) == condition


@pytest.mark.parametrize(
    "text",
    [
        "",
        "test/accuracy",
        "> 0.9",
        "accuracy > ",
        "accuracy == 1",
        "accuracy > nan",
        "accuracy > 0.9 and loss < 1",
        "accuracy > 1+1",
        "__import__('os').system('true') > 0",
        "accuracy > __import__('os').system('true')",
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConditionError) as failure:
        Condition.parse(text)
    assert str(failure.value) == (
        f"{text!r} is not a stop condition. Write a metric, one of > >= < <=, and a number, "
        'for example "test/accuracy>0.99".'
    )


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [(">", False, False, True), (">=", False, True, True), ("<", True, False, False), ("<=", True, True, False)],
)
def test_comparing(comparison: str, below: bool, equal: bool, above: bool) -> None:
    condition = Condition.parse(f"m{comparison}2")
    assert [condition.holds({"m": value}) for value in (1, 2, 3)] == [below, equal, above]
    assert not condition.holds({"m": math.nan})


def test_a_metric_that_is_not_there_is_an_error_with_those_that_are() -> None:
    with pytest.raises(ConditionError) as failure:
        Condition.parse("accuracy>1").holds({"test/loss": 1.0, "test/accuracy": 0.5})
    assert str(failure.value) == "no metric is called 'accuracy'. There are: test/accuracy, test/loss"
