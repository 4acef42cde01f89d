"""What is compared: every block, behind one registry. Plain torch; nothing here measures."""

from modules import identity  # noqa: I001  the order of these lines is the order of the registry
from modules import non_local
from modules import global_context
from modules import asymmetric
from modules import compact_non_local
from modules import pyramid
from modules import local_distribution
from modules import gald
from modules import upsampling
from modules import resnet
from modules import registry
from modules.registry import create, describe, names, register

__all__ = [
    "asymmetric",
    "compact_non_local",
    "create",
    "describe",
    "gald",
    "global_context",
    "identity",
    "local_distribution",
    "names",
    "non_local",
    "pyramid",
    "register",
    "registry",
    "resnet",
    "upsampling",
]
