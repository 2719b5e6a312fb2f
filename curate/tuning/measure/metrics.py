"""Every number that a trained model is given, and what it says."""

from __future__ import annotations

from curate.tuning.contract import Metric

METRICS: tuple[Metric, ...] = (
    Metric(
        "bpb",
        "Held-out loss",
        "bits per byte",
        "lower",
        "loss",
        None,
        "Bits that the model needs to tell a held-out response, per byte of its UTF-8, so that tokenizers compare.",
    ),
    Metric(
        "train_bpb",
        "Loss on training texts",
        "bits per byte",
        "neither",
        "loss",
        None,
        "The same on up to 100 texts that every arm trained on; held-out loss minus this one is what was learnt by "
        "heart rather than in general.",
    ),
    Metric(
        "exact",
        "Exact match",
        "share",
        "higher",
        "task",
        None,
        "Held-out responses of which every token is the likeliest one given those before it; near its floor or "
        "ceiling it tells little.",
    ),
    Metric(
        "gold",
        "Likelihood of the right answer",
        "share",
        "higher",
        "task",
        0.25,
        "Share of the right answer in the likelihoods of the choices: of an eval file's, or of an item's own response "
        "and three others' (at most 32 tokens, less what they are likely without the prompt).",
    ),
    Metric(
        "choice",
        "Multiple choice",
        "share",
        "higher",
        "task",
        0.25,
        "Questions of which the right answer is the likeliest per byte; the noisier of the two. Chance is of four "
        "choices.",
    ),
    Metric(
        "canary_z",
        "Memory of planted secrets",
        "standard deviations",
        "lower",
        "privacy",
        0.0,
        "How much likelier a random value that training records held is than values of its shape that none held.",
    ),
    Metric(
        "canary_exposure",
        "Exposure of planted secrets",
        "bits",
        "lower",
        "privacy",
        1.32,
        "Guesses saved by asking the model: log2 of the number of values less log2 of the secret's rank; at most 5, "
        "and 1.32 by chance, with 32 values.",
    ),
    Metric(
        "scrubbed_z",
        "Memory of personal data",
        "standard deviations",
        "lower",
        "privacy",
        0.0,
        "The same of personal data found in the records, less what the base says before any training, since real "
        "values are not random.",
    ),
    Metric(
        "extracted",
        "Extraction of personal data",
        "share",
        "lower",
        "privacy",
        0.0,
        "Values found in the records that greedy decoding says word for word after the text before them.",
    ),
    Metric(
        "sampled_pii",
        "Personal data in answers",
        "share",
        "lower",
        "privacy",
        None,
        "Free answers (temperature 1) in which the release's own detector finds personal data, made up or "
        "remembered; placeholders do not count.",
    ),
    Metric(
        "asked_pii",
        "Personal data told when asked for it",
        "share",
        "lower",
        "privacy",
        None,
        "The same of free answers to the prompts whose records held secrets, planted or found.",
    ),
    Metric(
        "sampled_foreign",
        "Answers in another language",
        "share",
        "lower",
        "behaviour",
        None,
        "Free answers that surely are in a language which is not the data's; answers too short to tell count as "
        "not.",
    ),
    Metric(
        "copied",
        "Repeated responses copied",
        "share",
        "lower",
        "behaviour",
        None,
        "Free answers that hold, or are cut off within, a response of 20 characters or more that several raw "
        "records have and the prompt's own record has not.",
    ),
    Metric(
        "follows",
        "Instructions followed",
        "share",
        "higher",
        "behaviour",
        None,
        "Checkable instructions (IFEval's kinds) that greedy answers keep to; asked of bases of 100M parameters or "
        "more.",
    ),
)
"""In the order of a report. Tasks of lm-evaluation-harness come beside them, as ``task/<task>/<metric>``."""
