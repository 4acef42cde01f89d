"""Cluster: the same groups and training runs on the machines of a Ray cluster, one exclusive device each.

Ray is the extra `contextbench[cluster]` and is imported by `connection.py` alone, once a cluster is asked for.
"""

from bench.cluster.connection import Cluster, NodesLost, connected
from bench.cluster.node import Node, Share, a_device_of
from bench.cluster.session import run_on_cluster
from bench.cluster.software import Software
from bench.cluster.survey import Kind, check_skew, find_kinds, nodes_with

__all__ = [
    "Cluster",
    "Kind",
    "Node",
    "NodesLost",
    "Share",
    "Software",
    "a_device_of",
    "check_skew",
    "connected",
    "find_kinds",
    "nodes_with",
    "run_on_cluster",
]
