"""What is compared: every block and network, behind one registry. Plain torch; nothing here measures."""

from modules import identity  # noqa: I001  the order of these lines is the order of the registry
from modules import non_local
from modules import global_context
from modules import asymmetric
from modules import compact_non_local
from modules import pyramid
from modules import local_distribution
from modules import gald
from modules import encoding
from modules import dual_attention
from modules import criss_cross
from modules import pointwise_spatial
from modules import upsampling
from modules import resnet
from modules import networks
from modules import comparison
from modules import classification
from modules import clips
from modules import detection
from modules import registry
from modules.registry import create, describe, names, register

__all__ = [
    "asymmetric",
    "classification",
    "clips",
    "compact_non_local",
    "comparison",
    "create",
    "criss_cross",
    "describe",
    "detection",
    "dual_attention",
    "encoding",
    "gald",
    "global_context",
    "identity",
    "local_distribution",
    "names",
    "networks",
    "non_local",
    "pointwise_spatial",
    "pyramid",
    "register",
    "registry",
    "resnet",
    "upsampling",
]
