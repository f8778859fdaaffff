"""Handwritten digits: 1797 real images of 8 × 8 pixels that ship with scikit-learn, so nothing is downloaded.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998;
these are the test part of that collection.
"""

from __future__ import annotations

from nbkit.tasks.errors import TaskError, check_fraction, check_seed
from nbkit.tasks.task import Task


def digits(seed: int = 0, test: float = 0.25) -> Task:
    """Tell which of ten digits an 8 × 8 image shows.

    Parameters
    ----------
    seed
        Decides which images are held out.
    test
        Share of the images that is held out, strictly between 0 and 1, the same of every digit (stratified).

    Raises
    ------
    TaskError
        If `test` is no share that leaves at least one image of every digit on both sides.
    ModuleNotFoundError
        If scikit-learn is missing.

    Examples
    --------
    >>> task = digits()
    >>> task
    Task('digits', inputs='i=8 j=8', classes=10, 1347 train, 450 test)
    >>> task.train[0].shape, task.train[0].min().item(), task.train[0].max().item()
    (torch.Size([1347, 8, 8]), 0.0, 1.0)
    """
    share = check_fraction("digits", "test", test, "It is the share of images held out; 0.25 is usual.")
    check_seed("digits", seed)
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        msg = (
            "digits: the images ship with scikit-learn, which is not installed. "
            "Install it with `pip install 'nbkit[lab]'` or `pip install scikit-learn`."
        )
        raise ModuleNotFoundError(msg, name=error.name) from error
    import torch

    bunch = load_digits()
    count = len(bunch.target)
    if min(round(share * count), round((1 - share) * count)) < 10:
        remedy = f"There are {count} images; take a share nearer to 0.25."
        raise TaskError("digits", "test", "a share that leaves every digit on both sides", test, remedy)
    images = (bunch.images / 16).astype("float32")  # grey levels 0 … 16
    train, held = train_test_split(range(count), test_size=share, random_state=seed, stratify=bunch.target)
    x, y = torch.from_numpy(images), torch.from_numpy(bunch.target.astype("int64"))
    return Task(
        name="digits",
        inputs="i=8 j=8",
        classes=10,
        train=(x[train], y[train]),
        test=(x[held], y[held]),
        source="Alpaydin & Kaynak 1998, UCI; sklearn.datasets.load_digits",
    )
