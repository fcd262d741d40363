"""The study in one picture: what is made from what, in the words of its science rather than of its rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape

from rim.config import runs
from rim.config.study import Study
from rim.report.labels import ORIGINS, origin

WIDTH, HEIGHT, GAP_X, GAP_Y = 204, 96, 30, 40  # of a box and between boxes, in pixels
BELOW = 14  # the lowest boxes
STYLE = (
    ".pipeline rect{fill:#eef4f9;stroke:#0072b2}.pipeline text{fill:#222;font:12px sans-serif}.pipeline .name{font-weight:bold;font-size:14px}"
    ".pipeline path{fill:none;stroke:#767676;stroke-width:1.5}.pipeline marker path{fill:#767676;stroke:none}"
    "@media (prefers-color-scheme:dark){.pipeline rect{fill:#1b2732;stroke:#4da6e0}.pipeline text{fill:#ddd}}"
)
Place = tuple[int, int]  # column and row
ARROWS: tuple[tuple[Place, Place], ...] = (
    ((0, 0), (1, 0)), ((1, 0), (2, 0)), ((2, 0), (3, 0)), ((3, 0), (4, 0)),
    ((1, 0), (1, 1)), ((2, 0), (2, 1)), ((3, 0), (2, 1)), ((1, 1), (4, 0)), ((2, 1), (4, 0)),
)  # fmt: skip


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def boxes(study: Study, commits: Mapping[str, str | None]) -> dict[Place, tuple[str, list[str]]]:
    """What each box says: its name, and lines on what this study has of it. What it has nothing of has no box."""
    origins = Counter(origin(model, commits.get(name)) for name, model in study.models.items())
    measures = [benchmark.measure for benchmark in study.benchmarks.values()]
    asked = {"misalignment": "harmful requests", "accuracy": "problems"}
    modes = f"thinking {' and '.join(study.modes)}"
    arms = len({variant for _, variant, _ in runs.tuned_runs(study)})
    known = {
        (0, 0): ("Models", [*(f"{origins[each]} {words}" for each, words in ORIGINS.items() if origins[each]), _number(len(study.seeds), "seed")]),
        (1, 0): ("Fine-tuning", [_number(arms, "arm"), "on short texts of reasoning", "careful or effort-minimizing"]),
        (2, 0): ("Replies", [modes, "before and after fine-tuning" * bool(arms), " and ".join(dict.fromkeys(asked[each] for each in measures if each in asked))]),
        (3, 0): ("Judgements", [_number(len(study.judges), "judge"), "goes along or refuses?", "is the answer right?" * ("accuracy" in measures)]),
        (4, 0): ("Findings", ["changes on equal prompts", "with intervals and tests", "this report"]),
    }  # fmt: skip
    if not arms:
        del known[1, 0]
    if runs.followed_runs(study):
        known[1, 1] = ("Over training", ["checkpoint by checkpoint", "RAS and other drift", "against misalignment"])
    if study.mechanism or study.forgetting:
        known[2, 1] = ("Inside the models", ["probes, heads, neurons", "what zeroing them does", "beside random sets"])
    return known


def picture(study: Study, commits: Mapping[str, str | None]) -> str:
    """The SVG, which may stand alone or in a page."""
    known = boxes(study, commits)
    columns, rows = (max(place[axis] for place in known) + 1 for axis in (0, 1))
    width, height = columns * (WIDTH + GAP_X) - GAP_X + 2, rows * (HEIGHT + GAP_Y) - GAP_Y + BELOW + 2
    names = ", ".join(name for name, _ in known.values())
    head = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pipeline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="The study: {names}."><style>{STYLE}</style><defs>{head}</defs>'
    ]
    arrows = ARROWS if (1, 0) in known else (((0, 0), (2, 0)), *ARROWS)
    parts += [_arrow(start, end) for start, end in arrows if start in known and end in known]
    parts += [_box(place, name, [line for line in lines if line]) for place, (name, lines) in known.items()]
    return "".join([*parts, "</svg>\n"])


def _corner(place: Place) -> Place:
    return 1 + place[0] * (WIDTH + GAP_X), 1 + place[1] * (HEIGHT + GAP_Y)


def _arrow(start: Place, end: Place) -> str:
    """Sideways within a row, down into the one below, and under all boxes and up into the one above."""
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    middle, under = x0 + WIDTH // 2, y0 + HEIGHT
    if start[1] == end[1]:
        way = f"M{x0 + WIDTH} {y0 + HEIGHT // 2}H{x1 - 2}"
    elif start[1] > end[1]:
        way = f"M{middle} {under}V{under + BELOW}H{x1 + WIDTH // 2}V{y1 + HEIGHT + 2}"
    else:
        way = f"M{middle} {under}V{under + GAP_Y // 2}H{x1 + WIDTH // 2 + (x0 - x1) // 3}V{y1 - 2}"
    return f'<path d="{way}" marker-end="url(#tip)"/>'


def _box(place: Place, name: str, lines: list[str]) -> str:
    x, y = _corner(place)
    text = "".join(f'<text x="{x + 12}" y="{y + 46 + 17 * i}">{escape(line)}</text>' for i, line in enumerate(lines))
    return f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/><text class="name" x="{x + 12}" y="{y + 25}">{name}</text>{text}'
