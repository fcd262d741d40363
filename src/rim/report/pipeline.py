"""The study in one picture: what is made from what, in the words of its science rather than of its rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from rim.config import runs
from rim.config.study import Study
from rim.report.labels import ORIGINS, origin

WIDTH, GAP, LINE, PAD = 226, 28, 19, 12  # of a box, between boxes, from line to line and around text, in pixels
STYLE = (
    ".pipeline rect{fill:#eef4f9;stroke:#0072b2}.pipeline text{fill:#222;font:14px sans-serif}.pipeline .name{font-weight:bold;font-size:16px}"
    ".pipeline path{fill:none;stroke:#767676;stroke-width:1.5}.pipeline marker path{fill:#767676;stroke:none}"
    "@media (prefers-color-scheme:dark){.pipeline rect{fill:#1b2732;stroke:#4da6e0}.pipeline text{fill:#ddd}}"
)
Place = tuple[int, int]  # column and row; two columns, so that it can be read on a phone
FINDINGS = (0, 4)  # as wide as all columns, and the arrows beside them
ARROWS: tuple[tuple[Place, Place], ...] = (
    ((0, 0), (0, 1)), ((0, 1), (0, 2)), ((0, 2), (0, 3)), ((0, 3), FINDINGS),
    ((0, 1), (1, 1)), ((0, 2), (1, 2)), ((0, 3), (1, 2)), ((1, 1), FINDINGS), ((1, 2), FINDINGS),
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """Where a box lies, in pixels, and what it says: its name, and lines on what this study has of it."""

    left: int
    top: int
    right: int
    bottom: int
    name: str
    lines: list[str]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _texts(study: Study, commits: Mapping[str, str | None]) -> dict[Place, tuple[str, list[str]]]:
    """Name and lines of each box. What a study has nothing of has no box."""
    origins = Counter(origin(model, commits.get(name)) for name, model in study.models.items())
    measures = [benchmark.measure for benchmark in study.benchmarks.values()]
    asked = {"misalignment": "harmful requests", "accuracy": "problems"}
    modes = f"thinking {' and '.join(study.modes)}"
    arms = len({variant for _, variant, _ in runs.tuned_runs(study)})
    known = {
        (0, 0): ("Models", [*(f"{origins[each]} {words}" for each, words in ORIGINS.items() if origins[each]), _number(len(study.seeds), "seed")]),
        (0, 1): ("Fine-tuning", [_number(arms, "arm"), "on short texts of reasoning", "careful or effort-minimizing"]),
        (0, 2): ("Replies", [modes, "before and after fine-tuning" * bool(arms), " and ".join(dict.fromkeys(asked[each] for each in measures if each in asked))]),
        (0, 3): ("Judgements", [_number(len(study.judges), "judge"), "goes along or refuses?", "is the answer right?" * ("accuracy" in measures)]),
        FINDINGS: ("Findings", ["changes on equal prompts", "with intervals and tests"]),
    }  # fmt: skip
    if not arms:
        del known[0, 1]
    if runs.followed_runs(study):
        known[1, 1] = ("Over training", ["checkpoint by checkpoint", "RAS and other drift", "against misalignment"])
    if study.mechanism or study.forgetting:
        known[1, 2] = ("Inside the models", ["probes, heads, neurons", "what zeroing them does", "beside random sets"])
    return {place: (name, [line for line in lines if line]) for place, (name, lines) in known.items()}


def boxes(study: Study, commits: Mapping[str, str | None]) -> dict[Place, Box]:
    """The boxes of a study, each row as high as its longest text."""
    known = _texts(study, commits)
    columns, bottom = max(column for column, _ in known) + 1, 1 - GAP
    placed: dict[Place, Box] = {}
    for row in sorted({row for _, row in known}):
        own = {place: text for place, text in known.items() if place[1] == row}
        top, bottom = bottom + GAP, bottom + GAP + 2 * PAD + LINE * (1 + max(len(lines) for _, lines in own.values()))
        for place, (name, lines) in own.items():
            left = 1 + place[0] * (WIDTH + GAP)
            wide = columns * (WIDTH + GAP) if place == FINDINGS else WIDTH
            placed[place] = Box(left, top, left + wide, bottom, name, lines)
    return placed


def picture(study: Study, commits: Mapping[str, str | None]) -> str:
    """The SVG, which may stand alone or in a page."""
    placed = boxes(study, commits)
    width, height = placed[FINDINGS].right + 1, placed[FINDINGS].bottom + 1
    names = ", ".join(box.name for box in placed.values())
    head = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pipeline" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="The study: {names}."><style>{STYLE}</style><defs>{head}</defs>'
    ]
    arrows = ARROWS if (0, 1) in placed else (((0, 0), (0, 2)), *ARROWS)
    parts += [_arrow(start, end, placed) for start, end in arrows if start in placed and end in placed]
    parts += [_drawn(box) for box in placed.values()]
    return "".join([*parts, "</svg>\n"])


def _arrow(start: Place, end: Place, placed: Mapping[Place, Box]) -> str:
    """Sideways within a row, up from the left, down, and on the right of any box on the way down."""
    one, other = placed[start], placed[end]
    middle, across = (one.left + one.left + WIDTH) // 2, (one.top + one.bottom) // 2
    if start[1] == end[1]:
        way = f"M{one.right} {across}H{other.left - 2}"
    elif start[1] > end[1]:
        way = f"M{one.right} {across}H{other.left + WIDTH // 4}V{other.bottom + 2}"
    elif any(column == start[0] and start[1] < row < end[1] for column, row in placed):
        way = f"M{one.right} {across}H{one.right + GAP // 2}V{other.top - 2}"
    else:
        way = f"M{middle} {one.bottom}V{other.top - 2}"
    return f'<path d="{way}" marker-end="url(#tip)"/>'


def _drawn(box: Box) -> str:
    x, y = box.left + PAD, box.top + PAD
    text = "".join(f'<text x="{x}" y="{y + 33 + LINE * i}">{escape(line)}</text>' for i, line in enumerate(box.lines))
    frame = (
        f'<rect x="{box.left}" y="{box.top}" width="{box.right - box.left}" height="{box.bottom - box.top}" rx="6"/>'
    )
    return f'{frame}<text class="name" x="{x}" y="{y + 13}">{box.name}</text>{text}'
