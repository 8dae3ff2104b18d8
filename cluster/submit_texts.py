"""Texts of `retalk submit`."""

from __future__ import annotations

TEXT = """\
Dub a catalogue on a Ray cluster. The job is `retalk run` on the head node, with the options given here; its workers are the cluster's. Its
log is shown while it runs, and its exit code becomes this command's. Submit the same command again to resume. Ctrl-C leaves the job running
and prints how to follow and how to stop it.

Files named by a relative path (MANIFEST, a REFERENCE picture, .yaml files of --engine and --profile) are sent along. Absolute paths and
URLs stay as they are: the nodes of the cluster must see them, and so must the inputs of the manifest's rows, unless they lie in
--working-dir. The default of --profile is autoscaling.

`retalk submit eval lrs2 ...` submits a sweep, with the arguments of `retalk eval lrs2` (`retalk submit eval --help`), and
`retalk submit train lnet ...` a training (`retalk submit train --help`)."""
EVAL_TEXT = """\
Run a sweep over a data set on a Ray cluster: the job is `retalk eval` on the head node, with the options given here. Lists and
manifests named by a relative path are sent along; data must lie where all nodes see it. Submit the same command again to resume."""
EVAL_EXAMPLES = """\
Examples:

  retalk submit eval lrs2 --root /data/lrs2 --list lrs2.txt -o /shared/lrs2 --systems retalk,source --address http://HEAD:8265
  retalk submit eval pairs s3://bucket/pairs.csv -o s3://bucket/sweep --dry-run"""
TRAIN_TEXT = """\
Train a network on a Ray cluster: the job is `retalk train` on the head node, with the options given here; its workers are the cluster's.
A .yaml of --config at a relative path is sent along; data and other files must lie where all nodes see them. Submit the same command again
(of talkin: with --resume) to go on from the last checkpoint."""
TRAIN_EXAMPLES = """\
Examples:

  retalk submit train sync --data s3://bucket/data -o s3://bucket/sync --gpu --address http://HEAD:8265
  retalk submit train lnet --data /shared/data -o /shared/lnet --features /shared/vgg19-dcbb9e9d.pth --workers 8 --gpu --dry-run"""
EXAMPLES = """\
Examples:

  retalk submit catalogue.jsonl -o s3://bucket/out --address http://HEAD:8265
  retalk submit catalogue.jsonl -o /shared/out --working-dir . --no-wait
  retalk submit eval lrs2 --root /data/lrs2 --list lrs2.txt -o /shared/lrs2 --systems retalk,source
  retalk submit train sync --data /shared/data -o /shared/sync --workers 4 --gpu

Exit codes: those of `retalk run` (0 done, 3 some titles failed, 2 wrong usage and nothing has run), and 1 if the cluster could not run the
job or was lost."""
