"""Texts of `retalk COMMAND --help` for each command, with examples."""

EXIT_CODES = """\
Exit codes: 0 done; 3 some titles failed (which and why is printed and in the ledger); 2 wrong usage, nothing has run; 130 interrupted
(run the same command again to resume); 4 Ray did not start, or ended by itself (the same); 1 an error of retalk itself."""

TOP = """\
Visual dubbing: give it a video of somebody talking and new speech, and get the same video with the mouth speaking the new words.

All paths may be fsspec URLs (s3://, gs://, https://, file://)."""

TOP_EXAMPLES = f"""\
Examples:

  retalk dub talk.mp4 german.wav -o talk.de.mp4
  retalk run catalogue.jsonl -o out/
  retalk status out/ --watch

{EXIT_CODES}"""

MANIFEST_HELP = """\
A manifest is JSON lines, CSV, TSV or Parquet with one row per title: id, video, speech, output, and optionally face, length, audio,
language, loudness, codec, crf, bitrate, preset, consent, ranges, exclude and any option of a stage ("speak.lag": 0.04, see `retalk stages
--options`). Several dubs of one video share a row and its analysis: id, video, dubs: [{language, speech, output}, ...]. speech is any file
with an audio stream; in its place there may be speakers: [{face, speech}, ...] and mix (docs/speakers.md).

Relative inputs are looked up in the manifest's folder and in the working directory; relative outputs are written to DIR. A title that
cannot be dubbed (a missing or damaged file, no face, silent speech) is recorded as failed in DIR/ledger.jsonl, and the others finish."""

DUB_HELP = """\
Dub one video. The length, frame rate, size, other audio tracks, subtitles and metadata of the video are kept.

Until OUT is there, work in progress is kept beside it (.NAME.retalk): run the same command again to resume after an interruption."""

DUB_EXAMPLES = f"""\
Examples:

  retalk dub talk.mp4 german.wav -o talk.de.mp4 --language de
  retalk dub panel.mp4 new.wav -o out.mp4 --face left --length freeze
  retalk dub panel.mp4 --speaker anna.jpg=anna.wav --speaker right=bob.wav -o out.mp4
  retalk dub talk.mp4 german.wav -o talk.de.mp4 --dry-run

{EXIT_CODES}"""

RUN_HELP = f"""\
Dub a catalogue. Run the same command again to resume: what is finished is not computed again, and a title is only recomputed when one of
its inputs or options has changed.

{MANIFEST_HELP}"""

RUN_EXAMPLES = f"""\
Examples:

  retalk run catalogue.jsonl -o out/
  retalk run catalogue.csv -o s3://bucket/out --engine exemplar --length freeze
  retalk run catalogue.jsonl -o out/ --only ep7 ep8
  retalk run catalogue.jsonl -o out/ --redo ep7 --set speak.lag=0.04
  retalk run catalogue.jsonl -o out/ --json --quiet > report.json

{EXIT_CODES}"""

PLAN_HELP = f"""\
Show what a run would do and what it would cost. Every title is probed, shots and faces are looked for, and segments and problems are
listed.

With measured rates (`retalk profile` writes them into a profile; otherwise those of earlier runs in DIR are used) the CPU time and GPU
time booked and the duration are forecast, and with the price of a node-hour in the profile (nodes: [{{name, cpus, gpus, min, max,
price}}]) the cost. What was never measured is reported as unknown.

{MANIFEST_HELP}"""

PLAN_EXAMPLES = f"""\
Examples:

  retalk plan catalogue.jsonl
  retalk plan catalogue.jsonl -o out/ --profile mine.yaml
  retalk plan catalogue.jsonl --profile laptop --profile node-8gpu --json

{EXIT_CODES}"""

STATUS_HELP = """\
Show how a run stands. Reads only the run directory, so it works on any machine that sees it, during a run (figures are at most 5 s old)
and afterwards.

Shown are the titles that are done, failed, running and waiting, frames per second, the time left, and how busy each stage is: "busy 3.2 of
8" means that 3.2 of at most 8 actors are at work on average. A run whose process is gone is reported as died."""

STATUS_EXAMPLES = """\
Examples:

  retalk status out/
  retalk status s3://bucket/out --watch
  retalk status out/ --json

Exit code 3 if titles have failed."""

REPORT_HELP = """\
Show what a run has done and cost: time of each stage, CPU and GPU time, node-hours and money beside the forecast of `retalk plan MANIFEST
-o DIR`, and failed titles grouped by reason. Printed as Markdown, and kept as DIR/report/report.md and report.json.

DIR/report/index.html is the review page: all dubs, worst first, with reasons; each with the video before and after in two players that
move as one. Approve and reject by keyboard, export decisions.json, and compute what was rejected again: `retalk run MANIFEST -o DIR
--redo decisions.json --set ...`. It needs no server and no network: open it from the disk, or copy DIR whole."""

REPORT_EXAMPLES = """\
Examples:

  retalk report out/
  retalk report out/ --open
  retalk report out/ --format junit > verdicts.xml

Exit code 3 if titles have failed."""

PROFILE_HELP = """\
Measure the stages of an engine on this machine and write a profile. Each stage runs in a process of its own on the beginning of a video,
at full and at half size. The profile holds pools sized by work and memory, the size of the object store, and the rates that `retalk plan`
forecasts with, with the reasons as comments.

Takes a few minutes on an otherwise idle machine. Give footage like your own: the rates then hold for it."""

PROFILE_EXAMPLES = """\
Examples:

  retalk profile -o mine.yaml --video talk.mp4 --speech german.wav
  retalk profile -o gpu.yaml --engine retalk --device cuda --video talk.mp4 --speech german.wav"""

STAGES_HELP = """\
List the stages of an engine as a Markdown table: what each of them reads, writes, and needs around a segment; with --options, the options
that --set changes and the memory of the networks; with --list, the engines, metrics, model files and storage rules that are
installed, those of other distributions included."""

STAGES_EXAMPLES = """\
Examples:

  retalk stages --list
  retalk stages --engine exemplar
  retalk stages --engine exemplar --options"""

COMPLETION_HELP = """\
Print a completion script for your shell."""

COMPLETION_EXAMPLES = """\
Examples:

  bash: retalk completion bash > ~/.local/share/bash-completion/completions/retalk
  zsh:  retalk completion zsh > ~/.zfunc/_retalk    (with ~/.zfunc in fpath)
  tcsh: retalk completion tcsh > ~/.retalk.tcsh     (and source it in ~/.tcshrc)"""

LENGTH_HELP = """\
when speech and video differ in length. keep (default): the video's length; longer speech is cut, with a note where that is more than 0.25
s, and after shorter speech the video keeps its own mouth. trim: as long as the shorter of the two. freeze, loop, pingpong: a shorter video
is extended by holding its last frame, starting again, or playing back and forth. A still picture is always held for the speech"""

RANGES_HELP = (
    "what is dubbed, such as 0-12.5,00:01:02:00-00:01:30:00 or 310f-450f (seconds, time codes HH:MM:SS:FF or HH:MM:SS.mmm, frames; an end "
    "that is left out is the title's). Elsewhere picture and sound stay the video's; docs/speakers.md"
)
FACE_HELP = """\
whom to dub where several people are seen: largest (default), left, right, speaking (whoever speaks in the video), a number counted from
the left (0 is the first), or a picture of the person (REFERENCE.jpg); docs/speakers.md"""

AUDIO_HELP = """\
replace (default): the speech takes the place of the video's first audio track; add: it becomes a further track; keep: the video's audio
stays as it is"""

CODEC_HELP = """\
auto (default): what a viewer of the source would expect, where the output's container holds it: ProRes and DNxHR stay what they are, alpha
makes ProRes 4444, HDR10 and HLG make HEVC, all else H.264; or h264, hevc, prores (.mov, .mkv), dnxhr (.mov), av1 (.mp4, .mkv), ffv1
(lossless; .mp4, .mkv), h264_nvenc, hevc_nvenc (NVIDIA GPUs), h264_videotoolbox, hevc_videotoolbox, prores_videotoolbox (macOS)"""

LOUDNESS_HELP = """\
loudness of the speech in the output: off (default): its own, also where many channels are mixed down; source: that of the video's audio; or
a number of LUFS such as -23 (EBU R 128) or -16, with true peaks limited to -1 dBTP"""

CONSENT_HELP = """\
consent of the person who is dubbed: a text, a URL, or a table as JSON ({"who": ..., "when": "2026-11-27", "scope": ..., "url": ...}). It is
kept in the ledger and signed in the output"""

LABEL_HELP = """\
draw a notice into the picture: a text, or the form of a rule: eu ("altered with AI" in the language of the dub), cn (in Chinese, with the
tag AIGC of GB 45438 in the file). Letters on a dark plate; only the pixels under it change"""

RUNNER_HELP = """\
where the work runs; the output is the same. local: in this process, on one core. ray: in worker processes on all cores of this machine, or
on the cluster of RAY_ADDRESS. auto (default): local where the work left takes less time than starting Ray does (about half a minute of 720p
video with the exemplar engine), else ray; always ray with RAY_ADDRESS, with GPUs in the profile, or with more than 16 titles to do"""

NOTIFY_HELP = """\
POST a JSON summary to this http(s) URL when the run ends, also when it failed or was interrupted. Up to 4 attempts of 6 s each, 0.5, 2 and
5 s apart, and no more than 28 s for all of them; redirections are not followed. It never fails the run"""
