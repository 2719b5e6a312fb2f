"""The command that hands a release on to trainers: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.cli.app import Json, Out, app, print_json


@app.command()
def export(
    out: Out,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="trl, llama-factory, axolotl, webdataset, mds, megatron or tokens.",
            show_default=False,
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to write.", show_default="OUT-FORMAT beside the release"),
    ] = None,
    split: Annotated[str | None, typer.Option(help="One split alone.", show_default="all")] = None,
    shuffle: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Seed of the records' order.", show_default="the release's order"),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every shard's SHA-256 first.")] = False,
    completion: Annotated[
        bool,
        typer.Option(
            "--completion", help="trl: prompt and last answer as its completion, in place of messages."
        ),
    ] = False,
    shard_size: Annotated[
        str | None,
        typer.Option(
            help="webdataset, mds, tokens: bytes of a shard, about.", show_default="256MB, mds 64MB"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="tokens, megatron: folder or Hugging Face id of a tokenizer.", show_default=False),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="tokens, megatron: 'plain' (ours) or a Jinja file.",
            show_default="the tokenizer's chat template",
        ),
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="tokens: most tokens in a row.", show_default="2048")
    ] = None,
    longer: Annotated[
        Literal["cut", "split", "skip"] | None,
        typer.Option(help="tokens: what becomes of records that are longer.", show_default="cut"),
    ] = None,
    packing: Annotated[
        Literal["best-fit", "in-order", "none"] | None,
        typer.Option(help="tokens: which records share a row.", show_default="best-fit"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the training records as trainers read them: for TRL, axolotl, Megatron and others, or as packed tokens.

    Every record is exported or counted with the reason why not; [bold]export.json[/] holds the counts.
    """
    from curate import show
    from curate.exporting import export as exporting
    from curate.show.export import exported

    with show.Display() as display:
        done = exporting.export(
            out, to, into, split=split, shuffle=shuffle, verify=verify, completion=completion,
            shard_size=shard_size, tokenizer=tokenizer, template=template, length=length, longer=longer,
            packing=packing, watch=display.watch, tick=display.tick,
        )  # fmt: skip
    if as_json:
        print_json(done.told)
    else:
        show.out().print(exported(done))
