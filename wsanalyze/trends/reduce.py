"""Principal components of features, and how many of them are more than noise."""

from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray

MAX_COMPONENTS: Final = 10
_NOISE_MARGIN: Final = 1.1


def project(features: FloatArray, num_components: int) -> tuple[FloatArray, FloatArray]:
    """Project rows on their first principal components.

    Args:
        features: float64 of shape (n, F), finite, n >= 1.
        num_components: How many columns to return; those beyond the rank of the features are 0.

    Returns:
        Points, float64 of shape (n, num_components), and the share of variance of each component in 0..1, float64
        of shape (num_components,).
    """
    return project_onto(features, features, num_components)


def project_onto(features: FloatArray, others: FloatArray, num_components: int) -> tuple[FloatArray, FloatArray]:
    """Project `others` on the first principal components of `features`.

    Args:
        features: float64 of shape (n, F), finite, n >= 1: what the components are taken from.
        others: float64 of shape (m, F): what is projected.
        num_components: How many columns to return; those beyond the rank of the features are 0.

    Returns:
        Points, float64 of shape (m, num_components), and the share of variance of each component in 0..1,
        float64 of shape (num_components,).
    """
    from sklearn.decomposition import PCA

    points = np.zeros((len(others), num_components))
    shares = np.zeros(num_components)
    if len(features) > 1 and np.ptp(features, axis=0).any():
        fitted = min(num_components, *features.shape)
        with np.errstate(all="ignore"):
            model = PCA(fitted, svd_solver="full").fit(features)
        points[:, :fitted] = model.transform(others)
        # A spread of rounding errors may have no variance in float64.
        shares[:fitted] = np.nan_to_num(model.explained_variance_ratio_)
    return points, shares


def count_components(features: FloatArray, noise: float) -> int:
    """Number of principal components that white noise alone would not show.

    The largest singular value of an n x F matrix of noise of standard deviation s is near s (sqrt(n) + sqrt(F));
    components above that, with a margin of a tenth, are counted.

    Args:
        features: float64 of shape (n, F), finite.
        noise: Standard deviation of the noise in each cell.

    Returns:
        0 to 10.

    References:
        Parallel analysis (Horn 1965) with the bound of Davidson and Szarek (2001) in place of simulated noise.
    """
    if len(features) == 1:
        return 0
    singular = np.linalg.svd(features - features.mean(axis=0), compute_uv=False)
    bound = _NOISE_MARGIN * noise * (np.sqrt(len(features)) + np.sqrt(features.shape[1]))
    return min(MAX_COMPONENTS, int((singular > bound).sum()))
