"""The limits of a gallery of few videos."""

CUTOFFS = (1, 5, 10)  # K of R@K


def meaningless(gallery: int) -> list[str]:
    """R@K that are 100 % whatever a method does: among so few videos no rank is beyond K."""
    return [f"R@{k}" for k in CUTOFFS if k >= gallery]


def warning(gallery: int) -> str:
    """A sentence about the R@K that mean nothing, "" where there is none."""
    if not (names := meaningless(gallery)):
        return ""
    told, only = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])), len(names) == 1
    return (
        f"The gallery has {gallery:,} video{'s' * (gallery != 1)}: {told} {'is' if only else 'are'} 100 % whatever a method does, "
        f"and {'means' if only else 'mean'} nothing; R-Sum holds {'it' if only else 'them'}, too."
    )
