"""The quick-tune: LoRA fine-tunes that measure what each filter of a release did to a model, with error bars.

One way through: release → arms (:mod:`curate.tuning.arms`) → tokens (:mod:`curate.tuning.encoding`) → a bench on disk
(:mod:`curate.tuning.bench`) → runs of an executor (:mod:`curate.tuning.executors`) → measures
(:mod:`curate.tuning.measure`) → effects (:mod:`curate.tuning.effects`) → the manifest's key ``tune``, from which
the report and the datasheet are rendered (:mod:`curate.govern.effects`).
"""

from __future__ import annotations
