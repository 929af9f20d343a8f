"""How fast messages are rendered, with the place of every content, beside the compiled templates of transformers.

    python -m benchmarks.chat [--records N]

Each record has eight messages of about 60 words. Both render the same records in one process, in turns; the best of three rounds
of each counts. The templates are those of the tests.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

from mcd.compiler.chat.render import Renderer
from mcd.dsl import checked as c

TEMPLATES = Path(__file__).parents[1] / "tests/compiler/data/chat"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
DATE = {"date_string": "26 Jul 2024"}


def talks(count: int) -> list[list[dict[str, str]]]:
    """Conversations of four questions and four answers."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(500)]
    roles = ("user", "assistant") * 4
    return [[{"role": role, "content": " ".join(draw.choices(words, k=60))} for role in roles] for _ in range(count)]


def rate(render: Callable[[list[dict[str, str]]], object], records: list[list[dict[str, str]]]) -> float:
    """Records per second."""
    begin = time.perf_counter()
    for messages in records:
        render(messages)
    return len(records) / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    records = talks(parser.parse_args().records)
    print(f"{'template':<10} {'ours':>10} {'transformers':>13}   records/s")
    for path in sorted(TEMPLATES.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        ready = Renderer(c.ChatTemplate((("default", template),), tuple(TOKENS.items())))

        def ours(messages: list[dict[str, str]], ready: Renderer = ready) -> str:
            return ready.render(messages, DATE).text

        def theirs(messages: list[dict[str, str]], template: str = template) -> str:
            text: str = render_jinja_template([messages], chat_template=template, **TOKENS, **DATE)[0][0]
            return text

        assert ours(records[0]) == theirs(records[0]), path.name
        rounds = [(rate(ours, records), rate(theirs, records)) for _ in range(3)]
        mine, other = (max(each) for each in zip(*rounds, strict=True))
        print(f"{path.stem:<10} {mine:>10,.0f} {other:>13,.0f}   {other / mine:.1f} times")


if __name__ == "__main__":
    main()
