"""The quick-tune: LoRA fine-tunes that measure what each filter of a release did to a model, with error bars.

One way through: release → arms (:mod:`curate.tune.arms`) → tokens (:mod:`curate.tune.encoding`) → a bench on disk
(:mod:`curate.tune.bench`) → runs of an executor (:mod:`curate.tune.executors`) → measures
(:mod:`curate.tune.measure`) → effects (:mod:`curate.tune.effects`) → the manifest's key ``tune``, from which
the report and the datasheet are rendered (:mod:`curate.govern.effects`).
"""

from __future__ import annotations
