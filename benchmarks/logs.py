"""All records by the script that makes them: benchmarks/A/B.py appends to results/A/B.jsonl."""

from benchmarks.record import RESULTS, SAME, Log

_IMAGE_CASE = ("image", "side", "kind", "amount", "method", "seed", "steps")

SAME_RESULTS = SAME
QUALITY = Log(RESULTS / "images" / "quality.jsonl", _IMAGE_CASE)
ABLATION = Log(RESULTS / "images" / "ablation.jsonl", _IMAGE_CASE)
NO_EARLY_STOPPING = Log(
    RESULTS / "images" / "no_early_stopping.jsonl",
    ("image", "side", "kind", "per_pixel", "amount", "run", "seed"),
)
SECONDS_TO_QUALITY = Log(RESULTS / "images" / "seconds_to_quality.jsonl")
STEP_TIME = Log(RESULTS / "images" / "step_time.jsonl")
SHARED_DEFECTS = Log(
    RESULTS / "images" / "shared_defects.jsonl",
    ("photos", "side", "frames", "amount", "then", "seed"),
)
FOLDER = Log(RESULTS / "images" / "folder.jsonl")
KILLS = Log(RESULTS / "images" / "kills.jsonl")
CONTENTION = Log(RESULTS / "images" / "contention.jsonl")
HARM = Log(RESULTS / "images" / "harm.jsonl", ("picture", "side", "jpeg", "seed"))
DAMAGE = Log(
    RESULTS / "images" / "damage.jsonl",
    ("image", "side", "kind", "amount", "then", "way", "seed", "steps"),
)
PEERS = Log(
    RESULTS / "images" / "peers.jsonl",
    ("image", "grey", "side", "kind", "amount", "method", "seed"),
)
LONE_PIXELS = Log(RESULTS / "images" / "lone_pixels.jsonl", ("image", "side", "seed"))
MEMORY = Log(RESULTS / "images" / "memory.jsonl")
LINE_ODDS = Log(RESULTS / "images" / "line_odds.jsonl", ("photos", "side", "seed"))
SEAMS = Log(
    RESULTS / "images" / "seams.jsonl",
    ("photos", "side", "tile", "kind", "amount", "method", "steps", "seed", "way"),
)
LARGE = Log(
    RESULTS / "images" / "large.jsonl",
    ("scene", "photos", "size", "kinds", "then", "share", "seed", "steps"),
)

ACCURACY = Log(
    RESULTS / "labels" / "accuracy.jsonl",
    ("data", "limit", "noise", "method", "recipe", "settings", "device", "seed"),
)
METHOD_COMPARISON = Log(
    RESULTS / "labels" / "method_comparison.jsonl",
    ("data", "limit", "noise", "method", "budget", "epochs", "seed"),
)
LABEL_ISSUES = Log(
    RESULTS / "labels" / "label_issues.jsonl",
    ("data", "limit", "noise", "method", "recipe", "epochs", "seed"),
)
LABEL_ERRORS = Log(
    RESULTS / "labels" / "label_errors.jsonl",
    ("data", "limit", "noise", "network", "epochs", "cleanlab", "seed"),
)
PLANTED_ERRORS = Log(
    RESULTS / "labels" / "planted_errors.jsonl",
    ("data", "noise", "seed"),
)
FOLDER_MEMORY = Log(RESULTS / "labels" / "folder_memory.jsonl")
METHOD_COST = Log(RESULTS / "labels" / "method_cost.jsonl")
SOP_FORMS = Log(RESULTS / "labels" / "sop_forms.jsonl")
SOP_STEP = Log(RESULTS / "labels" / "sop_step.jsonl")
THROUGHPUT = Log(RESULTS / "labels" / "throughput.jsonl")

LINEAR_SOLVER = Log(RESULTS / "theory" / "linear_solver.jsonl")
LOW_RANK = Log(RESULTS / "theory" / "low_rank.jsonl")
