"""All workloads, one after the other: `make bench`."""

import runpy

for module in ("bench.delivery", "bench.server", "bench.watchers", "bench.fairness", "bench.signatures"):
    print(f"== {module}", flush=True)
    runpy.run_module(module, run_name="__main__")
