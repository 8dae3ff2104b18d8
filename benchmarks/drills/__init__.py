"""Fault drills: a catalogue of short real videos, something that dies or breaks, and the same check at the
end of each.

python -m benchmarks.drills                all of them, at full size
python -m benchmarks.drills --only workers
"""
