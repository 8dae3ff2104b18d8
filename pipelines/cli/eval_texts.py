"""Texts of `retalk eval DATA --help`."""

#: Data sets with Wav2Lip's lists.
LISTS = ("lrs2", "lrs3", "lrw")
SUMMARY = {
    "lrs2": "score systems on a list of LRS2",
    "lrs3": "score systems on a list of LRS3",
    "lrw": "score systems on a list of LRW",
    "hdtf": "score systems on clips of HDTF",
    "pairs": "score systems on your own pairs of video and sound",
    "score": "score videos that exist, of any system",
}
LIST_HELP = """\
Dub the pairs of a list with each system and score the results. A line is AUDIO_ID VIDEO_ID, two .mp4 files below ROOT, as in Wav2Lip's
unpaired lists; lists and data are read from where you keep them."""
TEXTS = {
    **dict.fromkeys(LISTS, LIST_HELP),
    "hdtf": """\
Dub pairs of clips of HDTF, drawn at random, with each system and score the results. ROOT holds clips, name_<index>.mp4, or the raw
videos, name.mp4, out of which they are cut by the annotations (times, crop_wh, resolution), at 512 pixels. Clips are used up to
--seconds.""",
    "pairs": """\
Dub the pairs of a manifest with each system and score the results. MANIFEST is JSON lines, CSV, TSV or Parquet with the columns
id, video and audio; audio is any file with sound, and a video of the speaker lets the opening of the mouth be compared.""",
    "score": """\
Score videos that exist, of any system; nothing is dubbed. MANIFEST is JSON lines, CSV, TSV or Parquet with the columns id, output
(the video to be scored) and, where known, video (its source) and audio (the sound that it should show; default: its own).""",
}
COMMON = """\
Each system is a run below DIR with its own ledger; all share one analysis cache. Run the same command again to resume: what is
dubbed and measured is not done again. Scores are written to DIR/scores, DIR/scores.parquet and .csv; tables, plots and report.html
beside them. A metric whose model files are missing has no value and says so; the others are measured. docs/evaluation.md describes
protocols and metrics."""
EXIT_CODES = """\
Exit codes: 0 done; 3 some pairs were not scored (how many and why is printed); 2 wrong usage, nothing has run; 130 interrupted (run
the same command again to resume); 4 Ray did not start, or ended by itself (the same); 1 an error of retalk itself."""
EXAMPLES = {
    **{
        name: f"  retalk eval {name} --root /data/{name} --list {name}.txt -o out/ --systems retalk,wav2lip,source --shard 1/8"
        for name in LISTS
    },
    "hdtf": "  retalk eval hdtf --root /data/hdtf --annotations /data/HDTF_dataset -o out/ --systems retalk,retalk:no-dnet,source",
    "pairs": "  retalk eval pairs pairs.csv -o out/ --systems exemplar,source --protocol reconstruction",
    "score": "  retalk eval score theirs.csv -o theirs/ --name latentsync",
}
