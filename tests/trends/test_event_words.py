"""Events of several layers in one sentence."""

from wsanalyze.series import Event
from wsanalyze.trends.event_words import join_events


def test_layers_of_which_the_same_is_said_are_joined():
    def event(layer, said, place=4):
        return Event("frozen", layer, place, f"{layer} {said}.")

    stops = [event(layer, "stops changing at step 400") for layer in "abc"]
    assert join_events(stops) == "a, b and c stop changing at step 400."
    assert join_events([*stops[:2], event("c", "never changes", 0)]) == "a and b stop changing at step 400."
    rests = [event(layer, "stands still from step 3 to step 6 and moves on after that") for layer in "ab"]
    assert join_events(rests) == "a and b stand still from step 3 to step 6 and move on after that."
    other = [event(layer, "does what nobody knows") for layer in "ab"]
    assert join_events(other) == "a does what nobody knows."
