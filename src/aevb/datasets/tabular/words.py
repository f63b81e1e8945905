"""Words that tell the kind of a column: its name, words for yes and no, words with an order.

All of them are compared in small letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

NAMES_OF_PIXELS = re.compile(r"(pixel|pix|px)[ _-]?\d+([x_ -]\d+)?|\d+x\d+")
"""Names of columns that are pixels, such as pixel0 and 1x28."""
NAMES_OF_LABELS = {"label", "labels", "class", "y", "target"}
"""Names of a column that labels pictures."""
FEWEST_PIXELS = 16
"""At least this many columns named as pixels are pictures."""
NAMES_OF_IDENTIFIERS = re.compile(
    r"(.*[ _.-])?(id|ids|uid|uuid|guid|index|idx|key|rownames|row ?names?|row|obs|case|"
    r"serial|record|seqn|nr)([ _.-]?(no|nr|num|number|code))?|unnamed: ?\d+"
)
"""Names of columns that name a row."""
NAMES_OF_CODES = re.compile(
    r"(.*[ _.-])?(code|cod|cd|zip|zip ?code|post ?code|postal ?code|fips|state|county|country|"
    r"district|dist|region|province|town|city|area ?code|tract|sic|naics|icd|sector|industry|"
    r"occupation|ethnicity|race|religion|origin|sex|gender|married|marital|marital ?status|class|"
    r"type|kind|group|grp|cluster|species|strain|breed|block|plot|site|station|subject|subj|"
    r"patient|firm|company|teacher|student|rater|judge|treatment|treat|trt|arm|condition|variety|"
    r"batch|machine|operator|lot|sire|dam|nr|seqn|persnum)|"
    r"(.*[ _.-])?id|[a-z]+cod|"
    r"(user|town|house|hh|pers|person|cust|customer|client|firm|school|student|child|mother|family|"
    r"group|case|subj|patient|emp|employee|product|item|store|shop|movie|film|book|city|state|"
    r"country|county|dist|region|station|plot|tree|site|animal|ind|member|device|session|order|"
    r"account|loan|game|player|team|song|artist|author|post|msg)id"
)
"""Names of columns whose whole numbers are codes."""
NAMES_OF_GRADES = re.compile(r".*(severity|grade|stage|rating|stars|likert|satisfaction|quality)")
"""Names of columns whose few whole numbers are grades."""
NAMES_OF_DATES = re.compile(r".*(date|day|time|datum|opened|closed|born|birth|dob).*")
"""Names of columns whose whole numbers may be instants."""
YES_OR_NO = [
    ("false", "true"),
    ("no", "yes"),
    ("n", "y"),
    ("f", "t"),
    ("off", "on"),
    ("absent", "present"),
    ("0", "1"),
]
"""Pairs of words, in small letters: for False and for True."""
SCALES = [
    ("xxs", "xs", "s", "m", "l", "xl", "xxl", "xxxl"),
    ("very low", "low", "moderate", "medium", "mid", "high", "very high"),
    ("tiny", "small", "medium", "large", "huge"),
    ("never", "rarely", "seldom", "sometimes", "often", "usually", "always"),
    ("very poor", "poor", "fair", "average", "good", "very good", "excellent", "outstanding"),
    ("very bad", "bad", "medium", "ok", "okay", "good", "very good", "best"),
    ("none", "minimal", "mild", "slight", "some", "moderate", "marked", "severe"),
    ("strongly disagree", "disagree", "neutral", "neither", "agree", "strongly agree"),
    ("first", "second", "third", "fourth", "fifth"),
    ("1st", "2nd", "3rd", "4th", "5th", "6th"),
    ("i", "ii", "iii", "iv", "v", "vi", "vii"),
    ("not at all", "a little", "somewhat", "quite a bit", "very much", "extremely"),
    ("freshman", "sophomore", "junior", "senior"),
    ("young", "middle", "middle-aged", "old"),
    ("primary", "secondary", "tertiary"),
]
"""Words with an order, in small letters, from the least to the most."""


def order_of(small: Mapping[str, str]) -> list[str]:
    """Bring words into the order that they are known to have. Empty if there is none.

    small: The words in small letters, as keys.

    Example:
        >>> from aevb.datasets.tabular.words import order_of
        >>> order_of({"high": "High", "low": "Low"}), order_of({"65+": "", "<18": "", "18-64": ""})
        (['low', 'high'], ['<18', '18-64', '65+'])
    """
    if len(small) < 2:
        return []
    for scale in SCALES:
        if small.keys() <= set(scale):
            return [word for word in scale if word in small]
    starts = _starts(list(small)) if len(small) > 2 else {}
    return sorted(starts, key=lambda word: starts[word])


def _starts(words: list[str]) -> dict[str, tuple[float, int]]:
    """Where each of the words begins, if all of them are ranges or ranks. Else nothing."""
    starts = {word: _start_of_range(word) or _rank(word) for word in words}
    if any(starts.values()):
        # Beside ranges, "12 years" is one, too.
        starts = {word: start or _alone(word) for word, start in starts.items()}
    found = {word: start for word, start in starts.items() if start is not None}
    return found if len(found) == len(words) else {}


_NUMBER = r"[$€£]?\s?(\d[\d,]*(?:\.\d+)?)\s?[%km]?"


def _start_of_range(word: str) -> tuple[float, int] | None:
    """The lower end of a range such as 18-24, <18, 65+, 25 to 34. None for other words.

    The second number tells what ends or begins at the same number: below it, at it, above it.
    """
    if found := re.fullmatch(rf"[\[(]?{_NUMBER}\s?(?:-|–|to|,|\.\.)\s?{_NUMBER}[\])]?\D*", word):
        low, high = _number(found[1]), _number(found[2])
        return (low, 0) if low <= high else None
    if found := re.fullmatch(rf"(?:<|<=|under|below|less than|up to)\s?{_NUMBER}\D*", word):
        return _number(found[1]), -1
    if found := re.fullmatch(rf"(?:>|>=|over|above|more than)\s?{_NUMBER}\D*", word):
        return _number(found[1]), 1
    if found := re.fullmatch(rf"{_NUMBER}\s?\+\D*", word):
        return _number(found[1]), 1
    return None


def _rank(word: str) -> tuple[float, int] | None:
    """The number before words such as "2. hs grad"."""
    found = re.match(r"(\d{1,2})[.)]\s+\S", word)
    return (float(found[1]), 0) if found else None


def _alone(word: str) -> tuple[float, int] | None:
    found = re.fullmatch(rf"{_NUMBER}(\s[a-z]+)?", word)
    return (_number(found[1]), 0) if found else None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def are_pixels(names: Sequence[str]) -> bool:
    """Whether columns are the pixels of pictures, perhaps with a label, by their names.

    Example:
        >>> from aevb.datasets.tabular.words import are_pixels
        >>> are_pixels(["label", *(f"pixel{i}" for i in range(784))])
        True
        >>> are_pixels(["age", *(f"pixel{i}" for i in range(784))])
        False
    """
    small = [name.strip().lower() for name in names]
    others = [name for name in small if not NAMES_OF_PIXELS.fullmatch(name)]
    return len(small) - len(others) >= FEWEST_PIXELS and set(others) <= NAMES_OF_LABELS
