"""Whole numbers and their names in English, German and Korean: pairs to translate that are always right."""

from collections.abc import Callable, Iterable

from recur._checks import as_list, check_whole, is_one_of
from recur.tasks._pairs import Pairs

_LIMIT = 1_000_000
_ENGLISH = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_ENGLISH_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_GERMAN = (
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"),
    *("dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
_GERMAN_TENS = ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_KOREAN = ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")


def number_words(number: int, language: str = "en") -> list[str]:
    """Names a number, as the list of the parts of its name.

    English parts are words. German and Korean ones are written together: ``"".join(parts)`` is the spelling.

    Args:
        number: 0 to 999,999.
        language: ``"en"`` (no hyphen, no "and"), ``"de"`` or ``"ko"`` (Sino-Korean).

    Raises:
        TypeError: `number` is not whole.
        ValueError: Another number or language.

    Example:
        >>> " ".join(number_words(1984))
        'one thousand nine hundred eighty four'
        >>> "".join(number_words(1984, "de")), "".join(number_words(1984, "ko"))
        ('eintausendneunhundertvierundachtzig', '천구백팔십사')
    """
    return _named("number", number, language)


def number_pairs(numbers: Iterable[int], language: str = "en") -> Pairs:
    """Returns numbers as digits, and their names; both as parts with spaces between, so that both are few words.

    Raises:
        ValueError: As in `number_words`.

    Example:
        >>> number_pairs([21], "de")
        Pairs(sources=['2 1'], targets=['ein und zwanzig'])
    """
    numbers = as_list("numbers", numbers)
    names = [" ".join(_named(f"numbers[{place}]", number, language)) for place, number in enumerate(numbers)]
    return Pairs([" ".join(str(number)) for number in numbers], names)


def _named(argument: str, number: int, language: str) -> list[str]:
    if not is_one_of(language, _NAMED):
        raise ValueError(f"language: expected one of {sorted(_NAMED)}, got {language!r}")
    if not 0 <= check_whole(argument, number) < _LIMIT:
        raise ValueError(f"{argument}: expected 0 to {_LIMIT - 1}, got {number}")
    return _NAMED[language](number)


def _english(number: int) -> list[str]:
    thousands, rest = divmod(number, 1000)
    hundreds, rest = divmod(rest, 100)
    parts = [*_english(thousands), "thousand"] if thousands else []
    if hundreds:
        parts += [_ENGLISH[hundreds], "hundred"]
    if rest >= 20:
        parts.append(_ENGLISH_TENS[rest // 10])
        rest %= 10
    return parts if parts and not rest else [*parts, _ENGLISH[rest]]


def _german(number: int, one: str = "eins") -> list[str]:
    """Names a number; a 1 at its end is `one`: "eins", and "ein" before what it counts."""
    thousands, rest = divmod(number, 1000)
    hundreds, rest = divmod(rest, 100)
    parts = [*_german(thousands, "ein"), "tausend"] if thousands else []
    if hundreds:
        parts += [*_german(hundreds, "ein"), "hundert"]
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        return [*parts, *([*_german(ones, "ein"), "und"] if ones else []), _GERMAN_TENS[tens]]
    if parts and not rest:
        return parts
    return [*parts, one if rest == 1 else _GERMAN[rest]]


def _korean(number: int) -> list[str]:
    """Names a number in groups of ten thousand; a 1 before a unit is left out."""
    myriads, rest = divmod(number, 10_000)
    parts = [*(_korean(myriads) if myriads > 1 else []), "만"] if myriads else []
    for size, unit in ((1000, "천"), (100, "백"), (10, "십")):
        count, rest = divmod(rest, size)
        parts += [*([_KOREAN[count]] if count > 1 else []), unit] if count else []
    return parts if parts and not rest else [*parts, _KOREAN[rest]]


_NAMED: dict[str, Callable[[int], list[str]]] = {"de": _german, "en": _english, "ko": _korean}
