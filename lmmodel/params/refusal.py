"""The one way this project says no to a person."""


class Refusal(Exception):  # noqa: N818 - it is an answer, not an accident
    """Something a person gave cannot be used: one or two lines that name the file, the key, the value and the choices.

    Whoever stands at the door prints it and exits with code 1; nobody shows it with a traceback.
    """


def suggestion(word: str, choices: "list[str] | tuple[str, ...]") -> str:
    """``: did you mean 'rotary'?`` when a choice is close to `word`, otherwise nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    return f": did you mean '{close[0]}'?" if close else ""
