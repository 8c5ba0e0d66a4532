import pytest

from pipeline.config.dataset import Dataset, Own
from pipeline.datasets import folder


class Place:
    """A folder of empty files and its captions.csv."""

    def __init__(self, path):
        self.path = path
        self.file = path / "captions.csv"
        (path / "videos").mkdir()

    def put(self, *names):
        for name in names:
            (self.path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / "videos" / name).touch()

    def settings(self, text, **own):
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Dataset(videos=str(self.path / "videos"), captions=str(self.file), own=Own(**own))

    def read(self, text):
        return folder.read(self.settings(text), "mine")

    def tables(self, text):
        return folder.tables(self.path, self.settings(text), "mine")

    def found(self, *written):
        """The file that each of these means, among two more videos."""
        rows = [f'"{name}",caption {number}' for number, name in enumerate((*written, "y.mp4", "z.mp4"))]
        return [line.video for line in self.read("\n".join(("video,caption", *rows)))][: len(written)]

    def refused(self, text):
        with pytest.raises(ValueError, match="captions.csv: ") as caught:
            self.read(text)
        return str(caught.value).removeprefix(f"{self.file}: ")


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    found.put("y.mp4", "z.mp4")
    return found
