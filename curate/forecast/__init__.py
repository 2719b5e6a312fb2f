"""What a run would take, before it does it: time, memory and disk, from a sample of the records.

::

    sample     stretches of the input, as plans          growth   from a rehearsal to a run
    rehearsal  a sample through the real segments        memory   processes, and what grows with the records
    plan       what ``curate run --dry-run`` tells       disk     what is free; a cheap refusal
"""

from curate.forecast.disk import check_disk
from curate.forecast.memory import spare
from curate.forecast.plan import Plan, forecast

__all__ = ["Plan", "check_disk", "forecast", "spare"]
