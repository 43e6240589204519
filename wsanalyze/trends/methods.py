"""The registry of methods."""

from collections.abc import Mapping
from typing import Final

from wsanalyze.trends.alternatives import (
    find_agglomerative_trends,
    find_gmm_trends,
    find_hdbscan_trends,
    find_kmeans_trends,
)
from wsanalyze.trends.base import Method
from wsanalyze.trends.paper import find_paper_trends
from wsanalyze.trends.robust import find_robust_trends

METHODS: Final[Mapping[str, Method]] = {
    "robust": find_robust_trends,
    "paper": find_paper_trends,
    "kmeans": find_kmeans_trends,
    "gmm": find_gmm_trends,
    "hdbscan": find_hdbscan_trends,
    "agglomerative": find_agglomerative_trends,
}
