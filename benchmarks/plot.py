"""The plot of growth: what a record or a question costs, against how many events the ledger holds.

    draw(points, Path("bench-results/growth.svg"))

A panel for each kind of cost, both axes logarithmic: a flat line is a cost that does not grow.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Point

MARKERS = "osD^v<>"


def draw(points: Sequence[Point], path: Path) -> None:
    """Writes the plot, as SVG or PNG by the file's name; nothing when there are no points."""
    from matplotlib import use  # here: it takes a while, and worker processes import what this module's importers do

    use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys(point.panel for point in points))
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(6 * len(panels), 4.5), squeeze=False)
    for panel, axis in zip(panels, axes[0], strict=True):
        shown = [point for point in points if point.panel == panel]
        for number, line in enumerate(dict.fromkeys(point.line for point in shown)):
            mine = sorted((point.events, point.value) for point in shown if point.line == line)
            marker = MARKERS[number % len(MARKERS)]
            axis.plot([events for events, _ in mine], [value for _, value in mine], marker=marker, label=line)
        axis.set(xscale="log", yscale="log", xlabel="events in the ledger", ylabel=f"{panel} ({shown[0].unit})")
        axis.set_ylim(bottom=min(point.value for point in shown) / 3, top=max(point.value for point in shown) * 3)
        axis.grid(visible=True, which="both", alpha=0.2)
        axis.legend(frameon=False, fontsize="small")
    figure.suptitle("Cost as the ledger grows, measured in one run")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
