"""Text out of a prompt: words without sense, always the same for the same seed, some of them outside ASCII."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import count, islice

WORDS = (  # noqa: SIM905
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat duis "
    "aute irure in reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur sint occaecat "
    "cupidatat non proident sunt culpa qui officia deserunt mollit anim id est laborum naïve λόγος 日本 \"quoted\" 🙂"
).split()  # fmt: skip


def seed(texts: list[str], variant: int, choice: int = 0) -> bytes:
    """What decides a text: the prompt's words in order, and which of several texts is wanted.

    How the words are spread over messages and parts does not count: dialects differ in it.
    """
    prompt = " ".join(word for text in texts for word in text.split())
    state = blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16)
    if variant != 1 or choice:
        state.update(b"\0%d %d" % (variant, choice))
    return state.digest()


def tokens(seed: bytes, number: int) -> list[str]:
    """The first `number` tokens: words with the space before them. More tokens never change the earlier ones."""
    return list(islice(_endless(seed), number))


def _endless(seed: bytes) -> Iterator[str]:
    space, left = "", 0  # words left in this sentence
    for block in count():
        for byte in blake2b(seed + block.to_bytes(8, "big")).digest():
            word = WORDS[byte % len(WORDS)]
            if left == 0:
                left = 6 + byte % 9
                word = word.capitalize()
            left -= 1
            yield space + word + ("" if left else ".")
            space = " "


def pieces(text: str, size: int) -> list[str]:
    """A text cut into tokens of `size` characters."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def words(texts: list[str]) -> int:
    """How many tokens a prompt has."""
    return max(1, sum(len(text.split()) for text in texts))


def numbers(seed: bytes, number: int) -> list[float]:
    """A unit vector of `number` dimensions."""
    raw: list[int] = []
    for block in count():
        if len(raw) >= number:
            break
        raw += (byte - 128 for byte in blake2b(seed + block.to_bytes(8, "big")).digest())
    length = sum(x * x for x in raw[:number]) ** 0.5 or 1.0
    return [x / length for x in raw[:number]]
