"""Finds the commands in README and docs, holds them against the program, and runs them.

Called by scripts/check-docs. A fenced block in `sh`, `bash` or `console` is run unless its first line
says why not: ```sh not-run="reason". In `console` blocks the lines after `$ ` are commands.
"""

import argparse
import collections
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/**/*.md"]
SHELLS = {"sh", "bash", "console"}
BLOCK_SECONDS_MAX = 300

Block = collections.namedtuple("Block", "file line language reason text")


def documents():
    return sorted({file for pattern in DOCUMENTS for file in ROOT.glob(pattern)})


def blocks_of(file):
    """The fenced blocks in shell languages, those in lists included."""
    found, opened = [], None
    for number, line in enumerate(file.read_text().splitlines(), 1):
        fence = re.match(r"^(\s*)```(\w*)(.*)$", line)
        if fence and opened is None:
            opened = (number, fence[1], fence[2], fence[3], [])
        elif fence:
            start, indent, language, rest, lines = opened
            reason = re.search(r'not-run="([^"]+)"', rest)
            if language in SHELLS:
                text = "\n".join(line.removeprefix(indent) for line in lines)
                found.append(Block(file, start, language, reason and reason[1], commands(language, text)))
            opened = None
        elif opened:
            opened[4].append(line)
    return found


def commands(language, text):
    """A script: of a console, what was typed."""
    if language != "console":
        return text
    typed, goes_on = [], False
    for line in text.splitlines():
        if line.startswith("$ ") or goes_on:
            typed.append(line.removeprefix("$ "))
            goes_on = line.endswith("\\")
    return "\n".join(typed)


def command_lines(text):
    """The argument lists of `galera-sst` in a script, as far as they can be read without a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:
            continue
        for command in simple_commands(words):
            # A word with three dots makes it an outline.
            if command[0] == "galera-sst" and not any("…" in word for word in command):
                yield command[1:]


def simple_commands(words):
    """Splits a line at its operators; of a redirection, the file is dropped as well."""
    command = []
    for word in words:
        if re.fullmatch(r"[<>]+&?[|]?", word):
            if command and command[-1] in {"1", "2"} and word.startswith(">"):
                command.pop()
            command.append(None)
        elif re.fullmatch(r"[|&;()<>]+", word):
            if command and command[0]:
                yield [word for word in command if word]
            command = []
        elif command and command[-1] is None:
            command.pop()
        else:
            command.append(word)
    if command and command[0]:
        yield [word for word in command if word]


def refused(program, arguments):
    """Why the program does not take them, or nothing; `--help` at the end keeps it from running."""
    if not arguments or arguments[0] == "garbd":
        return None
    if arguments[0] == "--config":
        arguments = arguments[2:]
    arguments = [re.sub(r"\$\{?\w+\}?", "value", word) for word in arguments]
    # What follows `--` is another program's.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    run = subprocess.run([program, *own, "--help"], capture_output=True, text=True)
    return None if run.returncode == 0 else run.stderr.strip().splitlines()[0]


def broken_links(file):
    text = re.sub(r"```.*?```", "", file.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists():
            yield f"{name(file)}: link to {target}, which is not there"
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            yield f"{name(file)}: link to {target}: there is no such heading"


def anchors(file):
    headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def name(file):
    return str(file.relative_to(ROOT))


def run(blocks, hook):
    """Runs the blocks of each document in order, in a directory of its own; yields failures."""
    for file in documents():
        own = [block for block in blocks if block.file == file and not block.reason]
        if not own:
            continue
        with tempfile.TemporaryDirectory() as directory:
            for block in own:
                subprocess.run([hook], check=True)
                yield from run_block(block, directory)


def run_block(block, directory):
    where = f"{name(block.file)}:{block.line}"
    print(f"run {where}", flush=True)
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BLOCK_SECONDS_MAX,
        )
        if done.returncode != 0:
            yield f"{where}: exit status {done.returncode}\n{done.stdout}"
    except subprocess.TimeoutExpired as expired:
        yield f"{where}: not done in {BLOCK_SECONDS_MAX} s\n{(expired.stdout or b'').decode()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--run", metavar="HOOK", help="run them; HOOK is called before each block")
    parser.add_argument("--only", help="part of a file's name")
    options = parser.parse_args()

    blocks = [block for file in documents() for block in blocks_of(file)]
    problems = [problem for file in documents() for problem in broken_links(file)]
    lines = 0
    for block in blocks:
        for arguments in command_lines(block.text):
            lines += 1
            why = refused(options.program, arguments)
            if why:
                problems.append(f"{name(block.file)}:{block.line}: galera-sst {shlex.join(arguments)}: {why}")
    if options.run:
        os.environ["PATH"] = f"{pathlib.Path(options.program).resolve().parent}:{os.environ['PATH']}"
        chosen = [block for block in blocks if not options.only or options.only in name(block.file)]
        problems += run(chosen, options.run)

    reasons = collections.Counter(block.reason for block in blocks if block.reason)
    for reason, count in sorted(reasons.items()):
        print(f"not run, {count}: {reason}")
    for problem in problems:
        print(f"FAILED {problem}")
    runnable = len(blocks) - reasons.total()
    ran = f"{runnable} blocks were run" if options.run else f"{runnable} blocks can be run (--run)"
    print(f"{lines} command lines are known to the program, {ran}, {reasons.total()} not; {len(problems)} problems")
    sys.exit(1 if problems else 0)


main()
