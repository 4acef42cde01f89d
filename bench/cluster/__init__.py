"""Cluster: the same groups and training runs on the machines of a Ray cluster, one exclusive device each.

Ray is the extra `contextbench[cluster]` and is imported by `connection.py` alone, once a cluster is asked for.
"""

from bench.cluster.connection import Cluster, Node, NodesLost, Share, connected
from bench.cluster.session import run_on_cluster
from bench.cluster.software import Software
from bench.cluster.survey import Kind, check_skew, survey

__all__ = [
    "Cluster",
    "Kind",
    "Node",
    "NodesLost",
    "Share",
    "Software",
    "check_skew",
    "connected",
    "run_on_cluster",
    "survey",
]
