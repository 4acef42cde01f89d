"""Data sets that lie in folders, each in the layout and with the labels that it was published with."""

from bench.training.folders.catalogue import DATASETS, dataset_named, open_folder
from bench.training.folders.dataset import Dataset
from bench.training.folders.examples import FolderExamples
from bench.training.folders.transform import Transform

__all__ = ["DATASETS", "Dataset", "FolderExamples", "Transform", "dataset_named", "open_folder"]
