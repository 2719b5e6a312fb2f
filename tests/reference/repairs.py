"""The repairs of damaged text, one character at a time: the slow twin of curate.stages.conversing.repairs."""

from __future__ import annotations

COMMANDS = {
    "\x07": ("\\a", ("lpha", "pprox", "ngle")),
    "\x08": ("\\b", ("eta", "egin{", "ar{")),
    "\x0b": ("\\v", ("ec{", "arphi")),
    "\x0c": ("\\f", ("rac{", "orall")),
}


def controls(text: str) -> str:
    """Return the text without control characters, step by step, until a whole round changes nothing."""
    while (new := _one_round(text)) != text:
        text = new
    return text


def _one_round(text: str) -> str:
    for step in (_commands, _overstruck, _terminal, _feeds, _hyphens):
        text = step(text)
    text = "".join(c for c in text if not (ord(c) < 32 and c not in "\t\n\r") and c != "\x7f")
    return "".join(_windows(text, i) for i in range(len(text)))


def _commands(text: str) -> str:
    out = []
    for i, char in enumerate(text):
        start, rests = COMMANDS.get(char, ("", ()))
        out.append(start if any(_begins(text[i + 1 :], rest) for rest in rests) else char)
    return "".join(out)


def _begins(text: str, rest: str) -> bool:
    return text.startswith(rest) and (rest.endswith("{") or not text[len(rest) :][:1].isascii() or (
        not text[len(rest) :][:1].islower()
    ))  # fmt: skip


def _overstruck(text: str) -> str:
    out, i = "", 0
    while i < len(text):
        here, after = text[i], text[i + 2 : i + 3]
        struck = text[i + 1 : i + 2] == "\x08"
        if struck and here == "_" and after and after not in "_\n\x08":
            out, i = out + after, i + 3
        elif struck and here not in "\n\x08" and after == here:
            i += 2
        else:
            out, i = out + here, i + 1
    return out


def _terminal(text: str) -> str:
    out, i = "", 0
    while i < len(text):
        end = _sequence(text, i) if text[i] == "\x1b" else None
        if end is None:
            out += text[i]
        i = i + 1 if end is None else end
    return out


def _sequence(text: str, i: int) -> int | None:
    """Return where a sequence of ECMA-48 ends that begins with the escape at i."""
    if text[i + 1 : i + 2] == "[":
        k = i + 2
        while k < len(text) and "0" <= text[k] <= "?":
            k += 1
        while k < len(text) and " " <= text[k] <= "/":
            k += 1
        return k + 1 if k < len(text) and "@" <= text[k] <= "~" else None
    if text[i + 1 : i + 2] == "]":
        for k in range(i + 2, len(text)):
            if text[k] == "\x07":
                return k + 1
            if text[k : k + 2] == "\x1b\\":
                return k + 2
            if text[k] in "\n\x1b":
                return None
    return None


def _feeds(text: str) -> str:
    out, i = "", 0
    while i < len(text):
        k = i
        while k < len(text) and text[k] in "\x0b\x0c":
            k += 1
        if k == i:
            out, i = out + text[i], i + 1
            continue
        out = out.removesuffix("\n")
        out, i = out + "\n", k + (text[k : k + 1] == "\n")
    return out


def _hyphens(text: str) -> str:
    out = ""
    for i, char in enumerate(text):
        before, after = text[i - 1 : i] if i else "", text[i + 1 : i + 2]
        word = after.isalnum() or after == "_"
        stands = (before.isalnum() and (word or after == "/")) or (before == "." and word)
        stands = stands or (before == " " and after.isalpha())
        out += "-" if char == "\x1e" and stands else char
    return out


def _windows(text: str, i: int) -> str:
    """Return what a browser takes a C1 character for, unless it stands beside another byte above 127."""
    char = text[i]
    beside = [text[k] for k in (i - 1, i + 1) if 0 <= k < len(text)]
    if not "\x80" <= char <= "\x9f" or any("\x80" <= other <= "\xff" for other in beside):
        return char
    return char.encode("latin-1").decode("cp1252", "ignore")
