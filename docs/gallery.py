"""Make gallery.md and its small images, by the commands in gallery.toml.

    python docs/gallery.py [WORK]

Commands run in the folder WORK (default: build/gallery); a second run takes up what sweeps and
studies have finished there. About 40 minutes on two cores, most of it training.
"""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "gallery"
# Pixels, and colours of the palette: some 60 kB an image.
WIDTH, COLOURS = 900, 256
HEAD = """# Gallery

Every figure is drawn from stored results by the command under it, and lies beside its data (CSV) as
PDF, PNG and SVG. Here they are small; `python docs/gallery.py` makes this page again.
"""


def shrink(source: Path, target: Path) -> None:
    """Write an image at most WIDTH pixels wide, in a palette of its own."""
    with Image.open(source) as image:
        small = image.convert("RGB")
    if small.width > WIDTH:
        height = round(small.height * WIDTH / small.width)
        small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


def main(work: Path) -> None:
    """Run every command in `work`, then write the images and the page."""
    work.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(exist_ok=True)
    parts = [HEAD]
    for section in tomllib.loads((HERE / "gallery.toml").read_text())["section"]:
        for command in section["commands"]:
            subprocess.run(shlex.split(command), cwd=work, check=True, stdout=subprocess.DEVNULL)
        parts.append(f"## {section['title']}\n\n{section['text'].strip()}\n")
        for file, alt in section["images"].items():
            name = file.replace("/figures/", "/").replace("/", "-")
            shrink(work / file, IMAGES / name)
            parts.append(f"![{alt}](gallery/{name})\n")
        parts.append("\n".join(f"    {command}" for command in section["commands"]) + "\n")
    (HERE / "gallery.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "gallery")
