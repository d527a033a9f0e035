"""Install attacks/, evaluations/ and figures/ as subpackages of robustssm."""

from setuptools import find_packages, setup

PACKAGE_DIR = {
    "robustssm": "robustssm",
    "robustssm.attacks": "attacks",
    "robustssm.evaluations": "evaluations",
    "robustssm.figures": "figures",
}

setup(
    package_dir=PACKAGE_DIR,
    packages=[
        ".".join(filter(None, (package, nested)))
        for package, folder in PACKAGE_DIR.items()
        for nested in ("", *find_packages(folder))
    ],
    package_data={
        "robustssm": ["py.typed"],
        "robustssm.hippo": ["ptd_matrices/*.npz"],
        "robustssm.checkpoints": [
            *("zoo/*.safetensors", "zoo/*.json"),
            *("zoo/*/*.safetensors", "zoo/*/*.json"),
        ],
        "robustssm.training": ["recipes/*.toml", "recipes/lra/*.toml"],
        "robustssm.evaluations.benchmark": ["page.md", "suites/*.toml"],
        "robustssm.evaluations.reports": ["*.html", "*.css", "*.js"],
        "robustssm.figures": ["*.mplstyle"],
    },
)
