"""Principal components of features, and how many of them are more than noise."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray, weigh

MAX_COMPONENTS: Final = 10
_NOISE_MARGIN: Final = 1.1
_MANY_ROWS: Final = 2000
_ROWS_AT_ONCE: Final = 1000


def project(features: FloatArray, num_components: int) -> tuple[FloatArray, FloatArray]:
    """Project rows on their first principal components.

    Args:
        features: float64 of shape (n, F), finite, n >= 1.
        num_components: How many columns to return; those beyond the rank of the features are 0.

    Returns:
        Points, float64 of shape (n, num_components), and the share of variance of each component in 0..1, float64
        of shape (num_components,).
    """
    from sklearn.decomposition import PCA

    points = np.zeros((len(features), num_components))
    shares = np.zeros(num_components)
    if len(features) > 1 and np.ptp(features, axis=0).any():
        fitted = min(num_components, *features.shape)
        with np.errstate(all="ignore"):
            model = PCA(fitted, svd_solver="full").fit(features)
        points[:, :fitted] = model.transform(features)
        # A spread of rounding errors may have no variance in float64.
        shares[:fitted] = np.nan_to_num(model.explained_variance_ratio_)
    return points, shares


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Principal components of rows that are not equally noisy.

    Attributes:
        mean: float64 of shape (F,): mean of the rows.
        axes: float64 of shape (R, F): unit vectors, the strongest first.
        explained: float64 of shape (R,): share of variance of each in 0..1.
        num_signals: How many of them are more than noise, 0 to 10.
    """

    mean: FloatArray
    axes: FloatArray
    explained: FloatArray
    num_signals: int

    def project(self, features: FloatArray, num_components: int) -> FloatArray:
        """Coordinates of rows along the first axes.

        Args:
            features: float64 of shape (m, F).
            num_components: How many columns to return; those beyond the axes there are are 0.

        Returns:
            float64 of shape (m, num_components).
        """
        points = np.zeros((len(features), num_components))
        axes = self.axes[:num_components]
        points[:, : len(axes)] = (features - self.mean) @ axes.T
        return points


def find_axes(features: FloatArray, mean: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Find the axes along which rows are spread most.

    Args:
        features: float64 of shape (n, F), finite, n >= 1.
        mean: float64 of shape (F,): what is taken off each row.
        weights: float64 of shape (n,): how much rows count.

    Returns:
        Root of the weighted sum of squares along each axis, float64 of shape (R,), the largest first; and the axes,
        unit vectors of either sign, float64 of shape (R, F). Of more than 2000 rows, what is below a hundred-millionth
        of the largest is rounding.
    """
    roots = np.sqrt(weights)[:, None]
    if len(features) <= _MANY_ROWS:
        centred = roots * (features - mean)
        if len(centred) > centred.shape[1]:
            centred = np.asarray(np.linalg.qr(centred, mode="r"))
        return np.linalg.svd(centred, full_matrices=False)[1:]
    # Sums of products take a tenth of the time of a decomposition of all rows.
    products = np.zeros((features.shape[1], features.shape[1]))
    for begin in range(0, len(features), _ROWS_AT_ONCE):
        some = slice(begin, begin + _ROWS_AT_ONCE)
        centred = roots[some] * (features[some] - mean)
        products += centred.T @ centred
    squares, axes = np.linalg.eigh(products)
    return np.sqrt(np.maximum(squares[::-1], 0.0)), axes.T[::-1].copy()


def find_components(features: FloatArray, noise: FloatArray) -> Components:
    """Find principal components, noisy rows counting less, and how many of them white noise alone would not show.

    The largest singular value of an n x F matrix of noise of standard deviation s is near s (sqrt(n) + sqrt(F));
    components above that, with a margin of a tenth, are counted.

    Args:
        features: float64 of shape (n, F), finite, n >= 1.
        noise: float64 of shape (n,): standard deviation of the noise in each cell of each row.

    Returns:
        The components.

    References:
        Parallel analysis (Horn 1965) with the bound of Davidson and Szarek (2001) in place of simulated noise.
    """
    weights = weigh(noise)
    mean = np.average(features, axis=0, weights=weights)
    singular, axes = find_axes(features, mean, weights)
    # Rounding alone has a sign of its own on every machine.
    axes *= np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    total = float(np.sum(singular**2))
    explained = singular**2 / total if total > 0 else np.zeros(len(singular))
    usual = float(np.sqrt(np.mean(weights * noise**2)))
    bound = _NOISE_MARGIN * usual * (np.sqrt(len(features)) + np.sqrt(features.shape[1]))
    signals = 0 if len(features) == 1 else min(MAX_COMPONENTS, int((singular > bound).sum()))
    return Components(mean, axes, explained, signals)
