"""Where huggingface_hub comes from: imported on first use, and untyped, since it exports its names lazily."""

from typing import Any

from wsanalyze.errors import UsageError


def library() -> Any:  # noqa: ANN401 - a module
    """The library huggingface_hub.

    Raises:
        UsageError: If it cannot be imported with the environment as it is.
    """
    try:
        import huggingface_hub
        import huggingface_hub.constants
    except ValueError as error:  # of an endpoint that is no address
        raise UsageError(f"HF_ENDPOINT or another setting of huggingface_hub is none: {error}") from None

    return huggingface_hub


def utils() -> Any:  # noqa: ANN401 - a module
    """Its utilities."""
    import huggingface_hub.utils

    return huggingface_hub.utils


def storage_name(repo: str, kind: str) -> str:
    """How the folder of a repository is called in the user's cache."""
    from huggingface_hub.file_download import repo_folder_name

    return str(repo_folder_name(repo_id=repo, repo_type=kind))
