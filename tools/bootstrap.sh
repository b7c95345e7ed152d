#!/usr/bin/env bash
# Installs what bliss-mpi is built from: Debian packages, and LibTorch, Kokkos, HEALPix and Python tools into one prefix.
# Idempotent: what is there at the pinned version is kept. What comes from PyPI is pinned by version and SHA256.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=${BLISS_DEPS:-$root/.deps}
with_system=1
with_oracles=0
with_cuda=0

usage() {
    cat <<'TEXT'
usage: tools/bootstrap.sh [--prefix DIR] [--no-system] [--oracles] [--cuda]
  --prefix DIR   where LibTorch, Kokkos, HEALPix and the Python tools go (default: .deps, or $BLISS_DEPS)
  --no-system    install no Debian package (a site that brings its own; they are only checked)
  --oracles      also GalSim, needed only to remake the golden data of the tests
  --cuda         also LibTorch's CUDA part and the libraries of NVIDIA that it loads (2 GB more to fetch): networks on GPUs
What a site offers through CMAKE_PREFIX_PATH (Torch >= 2.6, Kokkos >= 3.4, Catch2 >= 3) is used and not installed again.
TEXT
}

while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?--prefix needs a directory}; shift 2 ;;
        --no-system) with_system=0; shift ;;
        --oracles) with_oracles=1; shift ;;
        --cuda) with_cuda=1; shift ;;
        -h | --help) usage; exit 0 ;;
        *) echo "bootstrap: unknown option '$1'" >&2; usage >&2; exit 2 ;;
    esac
done

say() { printf 'bootstrap: %s\n' "$*"; }
die() { printf 'bootstrap: error: %s\n' "$*" >&2; exit 1; }

# True where a directory of CMAKE_PREFIX_PATH holds the CMake package file named.
site_has() {
    local dir
    local -a dirs
    IFS=':;' read -r -a dirs <<<"${CMAKE_PREFIX_PATH:-}"
    for dir in "${dirs[@]}"; do
        compgen -G "$dir/lib*/cmake/*/$1" >/dev/null && return 0
        compgen -G "$dir/share/cmake/*/$1" >/dev/null && return 0
    done
    return 1
}

system_packages=(
    build-essential cmake ninja-build pkg-config unzip bzip2 ca-certificates python3 python3-venv
    libopenmpi-dev openmpi-bin openssh-client libhdf5-openmpi-dev libcfitsio-dev wcslib-dev
    libtomlplusplus-dev libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev
    libnanoflann-dev librandom123-dev libstb-dev libxxhash-dev libssl-dev zlib1g-dev libbz2-dev
)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "'$*' needs root: run as root, install sudo, or have these installed and use --no-system: ${system_packages[*]} catch2 (>= 3)"
    fi
}

missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || echo "$name"
    done
}

install_system_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages "${system_packages[@]}")
    [ ${#missing[@]} = 0 ] && return
    say "installing ${#missing[@]} Debian packages"
    as_root apt-get update -q >/dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Catch2 3 is in Debian 12's backports; their source entry is derived from the machine's own Debian entry.
install_catch2() {
    site_has Catch2Config.cmake && { say "Catch2: the site's own"; return; }
    dpkg-query -W -f='${Version}' catch2 2>/dev/null | grep -q '^3' && return
    local have
    have=$(apt-cache policy catch2 | awk '$1 == "Candidate:" {print $2}')
    if [[ $have != 3* ]]; then
        local entry='' suite
        suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
        if [ -f /etc/apt/sources.list.d/debian.sources ]; then
            entry=$(awk -v RS= -v suite="$suite" \
                '$0 ~ "Suites:[^\n]*[ ]" suite "([ \n]|$)" {sub(/Suites:[^\n]*/, "Suites: " suite "-backports"); print; exit}' \
                /etc/apt/sources.list.d/debian.sources)
            [ -n "$entry" ] && printf '%s\n' "$entry" | as_root tee /etc/apt/sources.list.d/bliss-backports.sources >/dev/null
        elif [ -f /etc/apt/sources.list ]; then
            entry=$(awk -v suite="$suite" '$1 == "deb" && $0 ~ " " suite " " {sub(" " suite " ", " " suite "-backports "); print; exit}' /etc/apt/sources.list)
            [ -n "$entry" ] && printf '%s\n' "$entry" | as_root tee /etc/apt/sources.list.d/bliss-backports.list >/dev/null
        fi
        [ -n "$entry" ] || die "no Debian source entry found to derive backports from; install catch2 >= 3 yourself"
        as_root apt-get update -q >/dev/null
    fi
    say "installing Catch2 3 from backports"
    if [[ $have == 3* ]]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends catch2 >/dev/null
    else
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -t "$suite-backports" catch2 >/dev/null
    fi
}

# True where the compiler finds a header, also in the include folders of CMAKE_PREFIX_PATH.
has_header() {
    local dir
    local -a dirs flags=()
    IFS=':;' read -r -a dirs <<<"${CMAKE_PREFIX_PATH:-}"
    for dir in "${dirs[@]}"; do flags+=("-I$dir/include"); done
    printf '#include <%s>\n' "$1" | c++ -std=c++20 -x c++ -E "${flags[@]}" - >/dev/null 2>&1
}

check_system() {
    local -a lacking=()
    local tool header
    for tool in c++ cmake ninja pkg-config unzip python3 mpicxx; do command -v "$tool" >/dev/null || lacking+=("$tool"); done
    for tool in cfitsio wcslib spdlog fmt; do pkg-config --exists "$tool" 2>/dev/null || lacking+=("$tool (pkg-config)"); done
    command -v h5pcc >/dev/null || pkg-config --exists hdf5-openmpi 2>/dev/null || lacking+=("parallel HDF5 (h5pcc)")
    for header in toml++/toml.h CLI/CLI.hpp nlohmann/json.hpp nanoflann.hpp Random123/philox.h stb/stb_image_write.h openssl/evp.h zlib.h \
        bzlib.h catch2/catch_test_macros.hpp; do
        has_header "$header" || lacking+=("$header")
    done
    [ ${#lacking[@]} = 0 ] || die "not found: ${lacking[*]}. On Debian 12 run without --no-system; elsewhere install them with your site's package manager or modules."
}

# ---- the prefix ----------------------------------------------------------------------------------------------------
torch_version=2.11.0
torch_sha256=7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a
cudart_version=13.0.96
cudart_sha256=7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
cupti_version=13.0.85
cupti_sha256=4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
kokkos_sdist=pykokkos-base==0.0.7
kokkos_sha256=6339daced1e81a2748f381847d8717cd77d824407da3c263b9491b5630c642b0
healpix_sdist=healpix==2025.1
healpix_sha256=733f16f30c15d911c8209f4045f0b0934e5fcafa63b8b39d62e425a036adccea

python=$prefix/venv/bin/python

install_python_tools() {
    if ! "$python" -m pip --version >/dev/null 2>&1; then # none yet, or one that was interrupted
        rm -rf "$prefix/venv"
        python3 -m venv "$prefix/venv"
    fi
    local -a files=("$root/tools/requirements/fetch.txt" "$root/tools/requirements/python.txt")
    [ $with_oracles = 1 ] && files+=("$root/tools/requirements/oracles.txt")
    local stamp=$prefix/venv/.stamp want
    want=$(cat "${files[@]}" | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
    say "installing Python tools"
    local -a args=()
    local file
    for file in "${files[@]}"; do args+=(-r "$file"); done
    "$python" -m pip install -q --disable-pip-version-check --require-hashes "${args[@]}"
    echo "$want" >"$stamp"
}

# Whose wheels run here; pip takes each name literally.
wheel_platforms=()
for glibc in 1 2010 2014 _2_5 _2_12 _2_17 _2_18 _2_25 _2_27 _2_28; do wheel_platforms+=(--platform "manylinux${glibc}_x86_64"); done

# Fetches one wheel by name==version and unpacks the paths given; checks its SHA256 first.
unpack_wheel() {
    local requirement=$1 sha256=$2 target=$3
    shift 3
    local folder
    folder=$(mktemp -d "$prefix/download.XXXXXX")
    "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
        "${wheel_platforms[@]}" -d "$folder" "$requirement"
    echo "$sha256  $(echo "$folder"/*.whl)" | sha256sum --check --quiet || die "$requirement: the download has another SHA256 than the pinned one"
    unzip -q -o "$folder"/*.whl "$@" -d "$target"
    rm -rf "$folder"
}

install_torch() {
    site_has TorchConfig.cmake && { say "LibTorch: the site's own"; return; }
    local target=$prefix/libtorch stamp="$torch_version $cudart_version $cupti_version" cuda have
    cuda="cuda $(sha256sum <"$root/tools/requirements/cuda.txt")"
    have=$(cat "$target/.stamp" 2>/dev/null || true)
    if [ "$have" = "$stamp $cuda" ] || { [ "$have" = "$stamp" ] && [ $with_cuda = 0 ]; }; then return; fi
    [ "$(uname -m)" = x86_64 ] || die "the pinned LibTorch is for x86-64, this machine is $(uname -m); provide Torch through CMAKE_PREFIX_PATH"
    say "installing LibTorch $torch_version (530 MB download)"
    rm -rf "$target" && mkdir -p "$target"
    unpack_wheel "torch==$torch_version" "$torch_sha256" "$target" 'torch/lib/*' 'torch/include/*' 'torch/share/*'
    unpack_wheel "nvidia-cuda-runtime==$cudart_version" "$cudart_sha256" "$target" 'nvidia/cu13/lib/libcudart.so*'
    unpack_wheel "nvidia-cuda-cupti==$cupti_version" "$cupti_sha256" "$target" 'nvidia/cu13/lib/libcupti.so*'
    rm -f "$target"/torch/lib/libtorch_python.so "$target"/torch/lib/*.a
    rm -f "$target/torch/lib/libgomp.so.1" # a process must hold one OpenMP runtime: the compiler's own
    if [ $with_cuda = 1 ]; then
        say "installing the CUDA libraries (2 GB download)"
        "$python" -m pip install -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes --python-version 3.11 \
            "${wheel_platforms[@]}" --upgrade --target "$target" -r "$root/tools/requirements/cuda.txt"
        stamp="$stamp $cuda"
    else
        rm -f "$target"/torch/lib/libtorch_cuda*.so
    fi
    echo "$stamp" >"$target/.stamp"
}

# Fetches one source distribution by name==version into a folder and unpacks it there; checks its SHA256 first.
unpack_sdist() {
    local requirement=$1 sha256=$2 folder=$3 index
    index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
    "$prefix/venv/bin/unearth" ${index:+-i "$index"} --no-binary -d "$folder" "$requirement" >/dev/null
    echo "$sha256  $(echo "$folder"/*.tar.gz)" | sha256sum --check --quiet || die "$requirement: the download has another SHA256 than the pinned one"
    tar -xzf "$folder"/*.tar.gz -C "$folder"
}

install_kokkos() {
    site_has KokkosConfig.cmake && { say "Kokkos: the site's own"; return; }
    [ "$(cat "$prefix/kokkos/.stamp" 2>/dev/null)" = "$kokkos_sdist" ] && return
    say "building Kokkos (OpenMP)"
    local folder
    folder=$(mktemp -d "$prefix/download.XXXXXX")
    unpack_sdist "$kokkos_sdist" "$kokkos_sha256" "$folder"
    cmake -S "$folder"/pykokkos-base-*/external/kokkos -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_STANDARD=20 \
        -DKokkos_ENABLE_OPENMP=ON -DKokkos_ENABLE_SERIAL=ON -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
        -DCMAKE_INSTALL_PREFIX="$prefix/kokkos" >"$folder/log" 2>&1 && ninja -C "$folder/build" install >>"$folder/log" 2>&1 ||
        { tail -20 "$folder/log" >&2; die "Kokkos did not build"; }
    rm -rf "$folder"
    echo "$kokkos_sdist" >"$prefix/kokkos/.stamp"
}

# HEALPix is two C files, compiled with the program.
install_healpix() {
    [ "$(cat "$prefix/healpix/.stamp" 2>/dev/null)" = "$healpix_sdist" ] && return
    local folder
    folder=$(mktemp -d "$prefix/download.XXXXXX")
    unpack_sdist "$healpix_sdist" "$healpix_sha256" "$folder"
    mkdir -p "$prefix/healpix"
    cp "$folder"/healpix-*/src/healpix.[ch] "$folder"/healpix-*/LICENSE.md "$prefix/healpix/"
    rm -rf "$folder"
    echo "$healpix_sdist" >"$prefix/healpix/.stamp"
}

if [ $with_system = 1 ]; then
    command -v apt-get >/dev/null || die "this system has no apt-get; install the needed packages with your site's modules and use --no-system"
    install_system_packages
    install_catch2
fi
check_system
mkdir -p "$prefix"
rm -rf "$prefix"/download.*
install_python_tools
install_torch
install_kokkos
install_healpix
say "ready: $prefix"
[ "$prefix" = "${BLISS_DEPS:-$root/.deps}" ] || say "before building: export BLISS_DEPS=$prefix"
