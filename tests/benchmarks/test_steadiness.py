from benchmarks.steadiness import steadiness_lines


def test_the_greatest_step_is_between_trainings_that_follow_one_another():
    (line,) = steadiness_lines("table", {"category": [0.5, 0.52, 0.48, 0.5]})

    assert line.value == "50.0%, 1.6, 4.0"
