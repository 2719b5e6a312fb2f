"""Other tools' near-duplicate removal, each run by one script in a virtual environment of its own.

`benchmarks/dedup.py` starts ``python -m peers.run_<name> FOLDER OUT.json SIMILARITY`` in this folder's parent.
FOLDER holds parquet files (here: one) with the columns ``id`` and ``text``. A script removes near duplicates at the
similarity given, over 5-grams of words, on one core, and writes OUT.json (its last line of output too):

* ``tool``, ``version``, ``note``: what was run, and with what.
* ``start_up_s``: CPU seconds of the interpreter and of the imports.
* ``load_s``: CPU seconds of reading the files into lists of strings, where the tool works on those.
* ``in_process_s``: CPU seconds of everything else that the tool did; ``wall_s``: the same on the clock.
* ``cpu_s``: CPU seconds of the whole process and its children.
* ``steps``: what these are made of, as pairs of CPU and wall seconds; ``detail``: seconds by the tool's own clock.
* ``records``, ``bytes`` (of UTF-8 text), ``peak_rss`` (bytes, of the largest process), ``cores``.
* ``removed``: the file that names the ids removed, one a line.

Reading the files is thus free for a tool that is given strings, and counted for one that reads them itself
(Daft, datatrove, text-dedup and curate).
"""
