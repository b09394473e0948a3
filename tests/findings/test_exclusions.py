"""Which findings contradict each other."""

from ecgllm.findings.exclusions import contradictions


def test_a_list_of_findings_contradicts_itself_in_its_most_specific_words():
    assert contradictions(["sinus bradycardia", "sinus tachycardia"]) == [("sinus bradycardia", "sinus tachycardia")]
    assert contradictions(["bradycardia", "sinus tachycardia"]) == [("bradycardia", "sinus tachycardia")]
    assert contradictions(["first degree av block", "mobitz type i av block"]) == [
        ("first degree av block", "second degree av block")
    ]
    assert contradictions(["normal ecg", "sinus rhythm", "sinus bradycardia", "early repolarization"]) == []
    # Any abnormal finding contradicts a normal ECG, its broader ones say no more.
    assert contradictions(["normal ecg", "complete left bundle branch block"]) == [
        ("normal ecg", "complete left bundle branch block")
    ]
