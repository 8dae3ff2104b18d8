"""The neural engine on a GPU, measured by one command (`python -m benchmarks.gpu`).

Imports torch and numpy only, so that it runs on a bare machine; may import what does the same: `retalk_models`,
tensor functions of `operators`, `benchmarks.network_cases`.
"""
