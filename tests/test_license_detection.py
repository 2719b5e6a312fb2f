from __future__ import annotations

import io
import random
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from reference import licensed as twin

from curate import licenses
from curate.record import MESSAGES
from curate.stages.licensing import licensed as _licensed
from curate.stages.licensing.licensed import detect

MIT_TEXT = """\
Copyright (c) 2020 the makers

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
"""
BSD_TEXT = """\
Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
1. Redistributions of source code must retain the above copyright notice.
2. Redistributions in binary form must reproduce the above copyright notice.
{third}THIS SOFTWARE IS PROVIDED "AS IS". IN NO EVENT SHALL THE HOLDER BE LIABLE FOR ANY
DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES.
"""
THIRD = "3. The name of the author may not be used to endorse or promote products\n   without permission.\n"
APACHE = (
    'Licensed under the Apache License, Version 2.0 (the "License");\n'
    "you may not use this file except in compliance with the License.\n"
)
GPL = (
    "This program is free software: you can redistribute it and/or modify it under the terms of the GNU\n"
    "General Public License as published by the Free Software Foundation, either version 3 of the\n"
    "License, or (at your option) any later version.\n"
)


def documents(texts: list[str]) -> pa.RecordBatch:
    return pa.record_batch({"text": pa.array(texts, pa.string())})


def conversations(records: list[list[tuple[str, str]]]) -> pa.RecordBatch:
    turns = [[{"role": role, "content": content} for role, content in record] for record in records]
    return pa.record_batch({"messages": pa.array(turns, MESSAGES)})


def found(text: str) -> str | None:
    hit = detect(documents([text])).get(0)
    return hit.expression if hit else None


@pytest.mark.parametrize(
    ("text", "license"),
    [
        # tags, alone on their line of source code or markup
        ("# SPDX-License-Identifier: MIT\nimport os\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-or-later OR MIT */\nint x;\n", "GPL-2.0-or-later OR MIT"),
        ("// SPDX-License-Identifier: (Apache-2.0 WITH LLVM-exception)\n", "Apache-2.0 WITH LLVM-exception"),
        ("<!-- SPDX-License-Identifier: CC-BY-SA-4.0 -->\n<p>", "CC-BY-SA-4.0"),
        # phrases that speak of the text itself
        (
            "This work is licensed under a Creative Commons Attribution 4.0 International License.",
            "CC-BY-4.0",
        ),
        ("This dataset is released under CC BY-SA 4.0.", "CC-BY-SA-4.0"),
        ("All content is available under CC0 1.0 Universal.", "CC0-1.0"),
        ("This project is licensed under the MIT License - see the LICENSE file.", "MIT"),
        ("This file is distributed under the terms of the Mozilla Public License 2.0.", "MPL-2.0"),
        (
            "This page is licensed under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/).",
            "CC-BY-4.0",
        ),
        ("Licensed under MIT or Apache-2.0.", "Apache-2.0 OR MIT"),
        ("Licensed under the Academic Free License version 3.0\n", "AFL-3.0"),
        (
            'This work is licensed under a <a rel="license" href="http://creativecommons.org/licenses/by-nc/4.0/">'
            "Creative Commons License</a>.",
            "CC-BY-NC-4.0",
        ),
        ('<link rel="license" href="https://creativecommons.org/licenses/by-nd/4.0/">', "CC-BY-ND-4.0"),
        ("title: x\nlicense: cc-by-sa-3.0\n\nText.", "CC-BY-SA-3.0"),
        (
            "The contents of this file are subject to the Mozilla Public License Version 1.1 (the"
            ' "License"); you may not use this file except in compliance with the License.',
            "MPL-1.1",
        ),
        # texts and headers by their telling sentences, whatever stands in the margin
        (MIT_TEXT, "MIT"),
        ("/*\n" + "".join(f" * {line}\n" for line in MIT_TEXT.splitlines()) + " */\n", "MIT"),
        (BSD_TEXT.format(third=""), "BSD-2-Clause"),
        (BSD_TEXT.format(third=THIRD), "BSD-3-Clause"),
        ("".join(f"# {line}\n" for line in APACHE.splitlines()), "Apache-2.0"),
        (GPL, "GPL-3.0-or-later"),
        (GPL.replace(", or (at your option) any later version", ""), "GPL-3.0-only"),
        (GPL.replace("General", "Lesser General").replace("version 3", "version 2.1"), "LGPL-2.1-or-later"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("Copyright and related rights waived via [CC0](https://example.org/cc0).", "CC0-1.0"),
        # several, which all hold
        (APACHE + "\n# SPDX-License-Identifier: MIT\n", "Apache-2.0 AND MIT"),
    ],
)
def test_what_a_text_says_it_is_under_is_detected(text: str, license: str) -> None:
    assert found(text) == license


@pytest.mark.parametrize(
    "text",
    [
        "The Linux kernel is licensed under the GNU General Public License version 2.",
        "OpenSSL is licensed under Apache 2.0, and curl has a license of its own.",
        "Add a line such as SPDX-License-Identifier: MIT to each file.",
        "The MIT License is a permissive license; it begins 'Permission is hereby granted'.",
        "If this work is not licensed under CC BY 4.0, ask first.",
        "This work may be licensed under CC BY 4.0 one day.",
        "This work is not licensed under CC BY 4.0.",
        "Some of this work is licensed under CC BY 4.0.",
        "This text explains what is meant by works that are licensed under CC BY 4.0.",
        "This work is licensed under CC BY 4.0 except for the figures.",
        "This work is licensed under CC BY 4.0 and other terms.",
        "This code is licensed under MIT-like terms.",
        "This code is licensed under MIT style terms.",
        "This song is licensed under the counter.",
        "See https://creativecommons.org/licenses/by/4.0/ for the Creative Commons license.",
        "He is licensed under state law to drive; the road was opened under license: MIT took part.",
        "The licensee under this agreement is subject to the terms of the contract.",
        "Copyright 2020. All rights reserved.",
        "A table of packages\n\nname license: MIT or so, they say\n",
        "Distributed under load, the system is available under the name of X.",
        "Photo by somebody. Licensed under CC BY-SA 3.0.",
        "Image: Licensed under CC BY 2.0 via the archive",
        "This image is licensed under CC BY 2.0.",
        "None of this is licensed under CC BY 4.0",
        "This library, unlike our own, is licensed under MIT.",
        "This tutorial explains how software is licensed under the MIT License.",
        "All software he wrote is licensed under MIT.",
        "x" * 100 + " SPDX-License-Identifier: MIT",
        "# SPDX-License-Identifier: MIT AND " + "x" * 500,
    ],
)
def test_a_text_that_only_talks_about_a_license_is_not_taken_as_licensed(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    ("text", "license"),
    [
        (
            "Text is available under the Creative Commons Attribution-ShareAlike License 4.0; more terms may apply.",
            "CC-BY-SA-4.0",
        ),
        (
            "This article is an open access article distributed under the terms and conditions of the Creative "
            "Commons Attribution (CC BY) license (http://creativecommons.org/licenses/by/4.0/).",
            "LicenseRef-curate-CC-BY",
        ),
        ("All text and images on this site are licensed under CC BY-SA 3.0.", "CC-BY-SA-3.0"),
        ("/* SPDX-License-Identifier: ISC */" + "x" * 1000, "ISC"),
    ],
)
def test_the_usual_words_at_the_foot_of_a_page_are_detected(text: str, license: str) -> None:
    assert found(text) == license


HOSTILE = {
    "spaces": "SPDX-License-Identifier: MIT" + " " * 200_000 + "x\n" + " " * 200_000,
    "links": "<a " * 70_000 + ' rel="license"' * 10_000,
    "gnu": "GNU general public license version 2 june 1991 " * 4_000,
    "permission": MIT_TEXT[40:200] * 1_200,
    "phrases": "this license is licensed under " * 6_000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_text_made_to_be_slow_is_not(name: str) -> None:
    # Seconds at worst where every doubling of the text doubles the time, hours where it squares it.
    start = time.process_time()
    _licensed.spots_in(HOSTILE[name])
    assert time.process_time() - start < 8


def test_a_text_about_licenses_is_under_none_of_them() -> None:
    names = ("MIT", "ISC", "CC0-1.0", "CC-BY-4.0")
    text = "\n".join(f"# SPDX-License-Identifier: {name}\n" for name in names)
    assert found(text) is None
    assert found(text.rsplit("#", 1)[0]) == "CC0-1.0 AND ISC AND MIT"


def test_a_conversation_whose_prompt_speaks_of_licenses_is_about_them() -> None:
    answer = "Here it is:\n\n" + MIT_TEXT
    about = [("user", "Write the MIT license."), ("assistant", answer)]
    code = [("user", "Write a program."), ("assistant", answer)]
    assert set(detect(conversations([about, code]))) == {1}


def test_evidence_tells_the_place_and_holds_no_text() -> None:
    text = "É. This work is licensed under CC BY 4.0."
    hits = detect(conversations([[("user", "Hello"), ("assistant", text)]]))
    [where] = hits[0].where
    assert (where["turn"], where["how"], where["license"]) == (1, "phrase", "CC-BY-4.0")
    assert text[where["start"] : where["end"]] == "This work is licensed under "
    assert set(where) == {"turn", "start", "end", "how", "license"}


def test_what_a_license_text_repeats_does_not_count_again() -> None:
    text = "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007\n\nEveryone is permitted to copy.\n" + GPL
    assert found(text) == "GPL-3.0-only"


PIECES = [
    *(
        MIT_TEXT,
        BSD_TEXT.format(third=THIRD),
        APACHE,
        GPL,
        "İ" * 3,
        "the quick brown fox \n" * 30,
        "under a tree. ",
    ),
    *(
        "This work is licensed under CC BY 4.0.",
        "# SPDX-License-Identifier: ISC\n",
        "license: MIT\n",
        "\n\n",
        "GNU ",
    ),
    *(
        "subject to the terms of the lease ",
        "licensed under ",
        "Licensed under the",
        "All of it is published under ",
    ),
    *("Photo: ", "Text is available under the "),
    *("the MIT License. ", "CC0 1.0. ", "* ", 'rel="license" ', "Attribution 4.0 International\n", "not "),
]


def test_the_search_agrees_with_its_slow_twin_on_random_texts() -> None:
    rng = random.Random(11)
    texts = ["".join(rng.choices(PIECES, k=rng.randint(0, 9))) for _ in range(600)]
    hits = detect(documents(texts))
    seen = 0
    for row, text in enumerate(texts):
        if "İ" in text:  # longer in lower case: only the fast search has to care
            text = text.replace("İ", "I")
        wanted = twin.spots(text)
        if len({key for spot in wanted for key in licenses.ids(spot.license)}) > _licensed.MOST:
            assert row not in hits
            continue
        seen += bool(wanted)
        assert (hits[row].expression if row in hits else None) == twin.joined(wanted), text
    assert seen > 200


def test_batches_and_order_change_nothing() -> None:
    texts = [APACHE, "nothing", MIT_TEXT, "", GPL] * 3
    whole = detect(documents(texts))
    for size in (1, 2, 7):
        parts = [detect(documents(texts[i : i + size])) for i in range(0, len(texts), size)]
        flat = {n * size + row: hit for n, part in enumerate(parts) for row, hit in part.items()}
        assert flat == whole
    sliced = documents(["x", *texts]).slice(1)
    assert detect(sliced) == whole
    assert detect(documents([])) == {}


def rows(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [orjson.loads(line) for line in io.BufferedReader(stream) if line.strip()]


def test_license_texts_are_told_apart(real_data: Path) -> None:
    known = rows(real_data / "license" / "license_texts.jsonl.zst")
    hits = detect(documents([row["text"] for row in known]))
    right, wrong = 0, []
    for number, row in enumerate(known):
        wanted = licenses.resolve(row["id"].removesuffix(".header")).concluded
        got = hits[number].expression if number in hits else None
        if got is None:
            continue
        bare = [(name or "").replace("-or-later", "").replace("-only", "") for name in (got, wanted)]
        # An exception only adds to the license whose text stands before it.
        if bare[0] == bare[1] or row["id"].startswith(bare[0]):
            right += 1
        else:
            wrong.append((row["id"], got))
    assert right >= 120, "of 178"
    assert len(wrong) <= 1, wrong


def test_no_license_is_found_in_instructions_that_state_none(real_data: Path) -> None:
    for name in ("dolly_3k_alpagasus", "gpteacher_codegen", "vigogne_oasst_fr"):
        records = rows(real_data / "instruct" / f"{name}.jsonl.zst")
        turns = [
            [("user", f"{row['instruction']}\n{row['input']}"), ("assistant", row["output"])]
            for row in records
        ]
        assert detect(conversations(turns)) == {}
