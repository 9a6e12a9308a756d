"""The picture of the workflow: which rule takes what another one makes."""

from __future__ import annotations

from pathlib import Path

from pygraphviz import AGraph

COLOUR = "#0a7d91"


def draw_rule_graph(dot: str, path: Path) -> None:
    """Draw what `snakemake --rulegraph dot` printed as SVG, from left to right."""
    graph = AGraph(string=dot)
    graph.graph_attr.update(rankdir="LR", nodesep="0.12", ranksep="0.9", margin="0.1")
    graph.node_attr.update(fontname="sans-serif", height="0.3", margin="0.12,0.04")
    graph.edge_attr.update(arrowsize="0.7")
    for node in graph.nodes():
        node.attr.update(color=COLOUR)
    graph.draw(str(path), format="svg", prog="dot")
