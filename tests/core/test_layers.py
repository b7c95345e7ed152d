"""Modules include only what lies below them (docs/architecture.md), and vendor headers only where they belong."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

BELOW = {
    "core": set(),
    "comm": {"core"},
    "fits": {"core"},
    "shard": {"core", "comm"},
    "h5": {"core", "comm"},
    "survey": {"core", "fits"},
    "catalog": {"core", "comm", "fits", "h5", "survey"},
    "simulator": {"core", "comm", "fits", "survey"},
    "stars": {"core", "survey"},
    "tile": {"core", "survey"},
    "encoder": {"core", "comm", "simulator", "survey", "tile"},
    "training": {"core", "comm", "encoder", "simulator", "survey", "tile"},
    "inference": {"core", "catalog", "comm", "encoder", "fits", "shard", "simulator", "stars", "survey", "tile"},
    "evaluation": {"core", "catalog", "fits", "survey"},
}

VENDOR = {
    r"toml\+\+": {"core"},
    r"mpi\.h": {"comm", "h5"},  # h5: HDF5's own headers take the communicator
    r"nccl\.h|cuda_runtime": {"comm"},
    r"hdf5\.h": {"h5"},
    r"fitsio\.h": {"fits"},
    r"wcslib|wcs\.h": {"survey"},
    r"^healpix\.h": {"survey"},
    r"Kokkos_Core": {"simulator"},
    r"openssl/": {"core"},
    r"xxhash": {"core"},
    r"(torch|ATen|c10)/": {"tile", "encoder", "training", "inference", "apps"},
    r"CLI/CLI": {"apps"},
}


def includes():
    """Yields (module, path, included header) of every source file."""
    for folder in ("include/bliss", "src"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".hpp", ".cpp", ".inc"}:
                continue
            module = path.relative_to(ROOT / folder).parts[0]
            for header in re.findall(r'^#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE):
                yield module, path.relative_to(ROOT), header


class Layers(unittest.TestCase):
    def test_modules_include_downwards(self):
        seen = 0
        for module, path, header in includes():
            found = re.match(r"bliss/(\w+)/", header)
            if not found or module == "apps":
                continue
            seen += 1
            other = found.group(1)
            self.assertTrue(other == module or other in BELOW[module], f"{path} of module {module} includes {header}")
        self.assertGreater(seen, 100)

    def test_vendor_headers_stay_in_their_module(self):
        for module, path, header in includes():
            for pattern, allowed in VENDOR.items():
                if re.match(pattern, header):
                    self.assertIn(module, allowed, f"{path} includes {header}")

    def test_files_stay_short(self):
        for folder in ("include", "src", "tests", "tools"):
            for path in (ROOT / folder).rglob("*"):
                if path.suffix in {".hpp", ".cpp", ".py", ".sh"}:
                    lines = path.read_text().splitlines()
                    self.assertLessEqual(len(lines), 400, f"{path.relative_to(ROOT)} has {len(lines)} lines: it hides two ideas")

    def test_lines_stay_short(self):
        for folder in ("include", "src", "tests", "tools"):
            for path in (ROOT / folder).rglob("*"):
                if path.suffix in {".hpp", ".cpp", ".py"}:
                    for number, line in enumerate(path.read_text().splitlines(), 1):
                        self.assertLessEqual(len(line), 140, f"{path.relative_to(ROOT)}:{number}")


if __name__ == "__main__":
    unittest.main()
