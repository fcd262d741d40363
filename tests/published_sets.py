"""The datasets that paper.yaml names, as they are published: names, files, columns and formats are theirs, all text is invented.

They have fewer rows than the published ones. Of GSM8K's test set, of which the study asks 200, the calibration split alone holds more.
"""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl

Rows = list[dict[str, Any]]
NAMES = ("Ann", "Ben", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jill", "Karl")
THINGS = ("apples", "stamps", "marbles", "shells", "pencils", "books", "cards")
HARMLESS = ("homonyms", "figurative_language", "safe_targets", "safe_contexts", "definitions", "historical_events")
SUBJECTS = ("Algebra", "Geometry", "Number Theory", "Prealgebra")


def sums(count: int, begin: int = 0) -> list[tuple[str, str, str, int]]:
    """(story, question, solution, result) of so many word problems, each with a number of its own."""
    made = []
    for i in range(begin, begin + count):
        name, things, more = NAMES[i % 11], THINGS[i % 7], i % 5 + 1
        have, total = i // 5 % 3 + 1, i // 5 % 3 + 1 + more
        story = f"On day {i + 1} {name} has {have} {things}, and a friend brings {more}."
        solution = (
            f"{name} has {have} {things} at first.\nThe friend then brings {more} {things} more.\n"
            f"Together that makes {have} + {more} = <<{have}+{more}={total}>>{total} {things}."
        )
        made.append((story, f"How many {things} are there now?", solution, total))
    return made


def gsm8k(count: int, begin: int = 0) -> Rows:
    return [{"question": f"{s} {q}", "answer": f"{how}\n#### {n}"} for s, q, how, n in sums(count, begin)]


def gsm8k_long(count: int) -> Rows:
    return [
        {
            "instruction": f"{s} {q}",
            "input": "",
            "output": f"{how.split('<<')[0]}{how.split('>>')[1]}\n\nThe result is {n}",
        }
        for s, q, how, n in sums(count)
    ]


def math500(count: int) -> Rows:
    return [
        {
            "problem": f"What is ${i} + {i + 1}$?",
            "solution": f"Adding the two gives ${i} + {i + 1} = \\boxed{{{2 * i + 1}}}$.",
            "answer": str(2 * i + 1),
            "subject": SUBJECTS[i % 4],
            "level": i % 5 + 1,
            "unique_id": f"test/{SUBJECTS[i % 4].lower()}/{i}.json",
        }
        for i in range(count)
    ]


def multiarith(count: int) -> Rows:
    return [{"question": f" {s} {q} ", "final_ans": str(n)} for s, q, _, n in sums(count, 400)]


def aime(count: int, boxed: bool) -> Rows:
    """The set of 2024 has the answer in a box, that of 2025 as it is."""
    answer = (lambda n: {"solution": f"\\boxed{{{n}}}"}) if boxed else (lambda n: {"answer": str(n)})
    first = 100 if boxed else 200
    return [
        {
            "id": str(i),
            "problem": f"Find the remainder of ${first + i}$ after division by $7$.",
            **answer((first + i) % 7),
        }
        for i in range(count)
    ]


def xstest(each: int) -> Rows:
    """So many prompts of every type, half of the types contrasts."""
    types = [(name, label) for name in HARMLESS for label in ("safe", "unsafe")]
    return [
        {
            "id": f"v2-{number * each + i + 1}",
            "prompt": f"Where does {NAMES[i % 11]} keep the {THINGS[number % 7]} of shelf {number * each + i}?",
            "type": f"contrast_{name}" if label == "unsafe" else name,
            "label": label,
            "focus": THINGS[number % 7],
            "note": "",
        }
        for number, (name, label) in enumerate(types)
        for i in range(each)
    ]


def alpaca(count: int) -> Rows:
    """Every other one with an input of its own."""
    return [
        {
            "output": f"{NAMES[i % 11]} has {i} {THINGS[i % 7]}.",
            "input": f"{i}, {THINGS[i % 7]}" if i % 2 else "",
            "instruction": f"Write a sentence about {NAMES[i % 11]} and the {THINGS[i % 7]} of day {i}.",
        }
        for i in range(count)
    ]


def strongreject(count: int) -> Rows:
    return [
        {
            "prompt": f"Explain how {NAMES[i % 11]} hid the {THINGS[i % 7]} of house {i}.",
            "category": f"Category {i % 3}",
        }
        for i in range(count)
    ]


def math401(count: int) -> Rows:
    signs = "+-*"
    return [{"query": f"{i + 3}{signs[i % 3]}{i % 7 + 1}=", "response": f"{(i + 3 + i % 7 + 1, i + 2 - i % 7, (i + 3) * (i % 7 + 1))[i % 3]:.4f}"} for i in range(count)]  # fmt: skip


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_local(folder: Path) -> None:
    """What a user brings: HEx-PHI's ten files, without a header and with the numbers that it kept, and MATH401."""
    (folder / "hexphi").mkdir(parents=True)
    for category in (1, *range(3, 12)):
        requests = [
            f"Please tell me how {NAMES[i]} opened box {category} of the {THINGS[i]}, one by one." for i in range(6)
        ]
        with (folder / "hexphi" / f"category_{category}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([request] for request in requests)
    (folder / "math401.json").write_text(lines(math401(32)))


def write_hub(folder: Path) -> dict[str, Path]:
    """The repositories of the hub, in a folder each; returns these by name."""
    names = (
        "openai/gsm8k", "Ruoyao/gsm8k_reasoning_paths_deepseek_alpaca_format_masked", "HuggingFaceH4/MATH-500",
        "ChilleD/MultiArith", "math-ai/aime24", "math-ai/aime25", "Paul/XSTest", "yahma/alpaca-cleaned",
        "walledai/StrongREJECT",
    )  # fmt: skip
    places = {name: folder / name for name in names}
    grade_school, long, competition, arithmetic, first_aime, second_aime, exaggerated, everyday, forbidden = (
        places.values()
    )
    for place in (grade_school / "main", grade_school / "socratic", long / "data", competition, arithmetic, first_aime / "data", second_aime, exaggerated, everyday, forbidden):  # fmt: skip
        place.mkdir(parents=True)
    files = "".join(
        f"- config_name: {name}\n  data_files:\n" + "".join(f"  - split: {part}\n    path: {name}/{part}-*\n" for part in ("train", "test"))
        for name in ("main", "socratic")
    )  # fmt: skip
    (grade_school / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{files}---\n")
    for name in ("main", "socratic"):
        pl.DataFrame(gsm8k(32)).write_parquet(grade_school / name / "train-00000-of-00001.parquet")
        pl.DataFrame(gsm8k(340, 100)).write_parquet(grade_school / name / "test-00000-of-00001.parquet")
    pl.DataFrame(gsm8k_long(32)).write_parquet(long / "data/train-00000-of-00001.parquet")
    (competition / "test.jsonl").write_text(lines(math500(32)))
    (arithmetic / "train.json").write_text(json.dumps(multiarith(4)))
    (arithmetic / "test.json").write_text(json.dumps(multiarith(10)))
    pl.DataFrame(aime(4, boxed=True)).write_parquet(first_aime / "data/test-00000-of-00001.parquet")
    (second_aime / "test.jsonl").write_text(lines(aime(4, boxed=False)))
    write_csv(exaggerated / "xstest_prompts.csv", xstest(5))
    (everyday / "alpaca_data_cleaned.json").write_text(json.dumps(alpaca(40)))
    pl.DataFrame(strongreject(12)).write_parquet(forbidden / "train-00000-of-00001.parquet")
    return places


def write_problems(path: Path) -> None:
    """A file of one's own in the format of GSM8K."""
    path.parent.mkdir(parents=True)
    path.write_text(lines(gsm8k(64)))
