"""Numbers of others to hold a report against, with where they come from and why they are not like for like."""

from collections.abc import Mapping
from typing import NamedTuple

from lsp.report.table import TextRow


class Anchors(NamedTuple):
    """Published numbers on one environment."""

    env: str
    title: str
    header: TextRow
    rows: tuple[TextRow, ...]
    caveat: str
    lines: Mapping[str, float]  # what the plot shows: label to return


# The table is the dissertation's; curves are from the event files and CSVs in its repository
# (github.com/Stefa-no/Extending-SAC-LSP).
STUDY = Anchors(
    env="lsp/RllabAnt-v0",
    title='The study "Extending SAC-LSP" (2018), rllab Ant',
    header=("method", "layers", "learner steps", "table", "last 500 (sd)"),
    rows=(
        ("baseline", "1", "10M", "3,157", "2,665 (1,403)"),
        ("prioritized", "1", "10M", "4,279", "2,741 (1,772)"),
        ("distributed", "1", "10M", "4,426", "2,842 (1,526)"),
        ("categorical", "1", "10M", "237", "227 (118)"),
        ("baseline", "2", "10M + 4M", "4,255", "4,228 (1,721)"),
        ("prioritized", "2", "10M + 4M", "4,821", "4,051 (1,843)"),
        ("distributed", "2", "10M + 4M", "5,173", "4,168 (1,749)"),
    ),
    caveat=(
        "Not like for like: protocol and budget differ. The study ran one seed each and evaluated a policy by one "
        "episode under one random latent held throughout (--protocol=fixed_latent comes nearest); its distributed runs "
        "took about 9 environment steps a learner step, the others 1; its physics was MuJoCo 1.31. table: the score in "
        "its text, from evaluations made apart. last 500: mean and standard deviation of the last 500 evaluations in "
        "its logs."
    ),
    lines={"study: baseline, 1 layer": 3157.0, "study: distributed, 2 layers": 5173.0},
)

# Per-seed CSVs of github.com/DAVIAN-Robotics/SimbaV2, results/baseline (arXiv 2502.15280); TD7 (arXiv 2306.02451) at
# second hand, as github.com/seungju-k1m/sac-td3-td7 quotes the paper.
PUBLISHED = Anchors(
    env="Ant-v4",
    title="Published on Ant-v4, mean ± standard deviation over seeds at environment steps",
    header=("method", "seeds", "300k", "1M", "5M"),
    rows=(
        ("SAC", "10", "3,532 ± 1,645", "5,105 ± 1,617", "6,071 ± 945"),
        ("REDQ, 20 updates a step", "10", "4,789 ± 1,323", "5,318 ± 1,225", "4,609 ± 3,325"),
        ("DroQ, 20 updates a step", "10", "4,783 ± 865", "5,988 ± 668", "7,356 ± 681"),
        ("CrossQ", "10", "5,384 ± 1,908", "6,980 ± 236", "-"),
        ("BRO, 2 updates a step", "5", "5,264 ± 985", "7,027 ± 361", "-"),
        ("BRO, 10 updates a step", "5", "5,314 ± 972", "7,467 ± 106", "-"),
        ("SimbaV2, 2 updates a step", "10", "6,200 ± 781", "7,429 ± 355", "-"),
        ("TD7 (quoted)", "10", "6,171 ± 831", "8,509 ± 422", "-"),
    ),
    caveat=(
        "Not like for like: network sizes, updates a step and evaluation protocols differ; none has a flow policy. "
        "TD7 evaluates a saved best policy. Source: "
        "per-seed results in the SimbaV2 repository (arXiv 2502.15280); TD7 (arXiv 2306.02451) at second hand."
    ),
    lines={"SAC at 1M": 5105.0, "DroQ at 1M": 5988.0, "CrossQ at 1M": 6980.0},
)

ANCHORS = {"study": STUDY, "published": PUBLISHED}
