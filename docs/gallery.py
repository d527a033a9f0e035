"""Make the small images of gallery.md by the commands that stand on that page.

    python docs/gallery.py [WORK]

Commands run in the folder WORK (default: build/gallery), and gallery/PATH is the figure WORK/PATH.
A second run takes up what sweeps and studies have finished there; the study's tables are those of
docs/data/study. About 40 minutes on two cores, most of it training.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
# Pixels, and colours of the palette: some 60 kB an image.
WIDTH, COLOURS = 900, 256


def shrink(source: Path, target: Path) -> None:
    """Write an image at most WIDTH pixels wide, in a palette of its own."""
    with Image.open(source) as image:
        small = image.convert("RGB")
    small.thumbnail((WIDTH, small.height))
    target.parent.mkdir(parents=True, exist_ok=True)
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


def main(work: Path) -> None:
    """Run every command of the page in `work`, then write the images that it shows."""
    page = (HERE / "gallery.md").read_text()
    shutil.copytree(HERE / "data" / "study", work / "paper" / "study", dirs_exist_ok=True)
    for command in re.findall(r"^    (robustssm .*)$", page, re.MULTILINE):
        subprocess.run(shlex.split(command), cwd=work, check=True, stdout=subprocess.DEVNULL)
    for image in re.findall(r"\]\(gallery/(\S+)\)", page):
        shrink(work / image, HERE / "gallery" / image)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "gallery")
