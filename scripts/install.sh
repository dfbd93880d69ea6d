#!/bin/sh
# Installs the named parts (bot, worker, dev) at the pinned versions into a virtual environment of their own, once.
# make and the Dockerfile both call it. It knows nothing of what the parts do.
#
# PYTHON       the Python to build with (default: the first of python3, python3.14 … python3.11 that is new enough)
# VENV         where to install (default: .venv)
# TORCH        cpu or cuda (default: cuda where nvidia-smi finds a GPU)
# TORCH_INDEX  where CPU builds of torch are (default: PyTorch's own index; empty: pip's own configuration only)
set -eu
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}

die() { printf '%s\n' "$@" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then command -v "$candidate"; return; fi
    done
    die "Darkroom needs Python 3.11 or newer; ${PYTHON:-python3} is $({ ${PYTHON:-python3} --version || echo missing; } 2>/dev/null)." \
        "Install one, or name one you have: PYTHON=/path/to/python3.12 make run"
}

make_venv() {
    # An environment whose Python went away (an upgrade, a moved folder) is built anew.
    if new_enough "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    python=$(find_python)
    "$python" -m venv --clear "$VENV" || die \
        "$python cannot make a virtual environment." \
        "On Debian and Ubuntu it takes: apt install python3-venv"
}

torch_kind() {
    if [ -n "${TORCH:-}" ]; then echo "$TORCH"
    elif nvidia-smi -L >/dev/null 2>&1; then echo cuda
    else echo cpu
    fi
}

torch_version() {
    "$VENV/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true
}

answers() {
    "$VENV/bin/python" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5).close()' "$1" 2>/dev/null
}

# On Linux the default build of torch carries gigabytes of CUDA. Where there is no GPU, PyTorch's own index has the same
# version without them; where that index cannot be reached, pip's own configuration decides.
install_cpu_torch() {
    index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
    if [ -z "$index" ] || [ "$(uname -s)" != Linux ] || [ -n "$(torch_version)" ]; then return; fi
    pin=$(grep '^torch==' constraints/cpu.txt)
    if answers "$index/torch/" && pip --no-deps --index-url "$index" "$pin"; then return; fi
    echo "No CPU build of torch at $index; using the one that pip is configured for."
}

pip() {
    # A person at a terminal sees the progress; a log does not need it.
    if [ -t 1 ]; then quiet=; else quiet=-qq; fi
    # Compiling all of torch and its like takes as long as installing it, for the part of it that is ever imported; Python
    # compiles that by itself, unless it was told to keep nothing, as in an image.
    if [ -n "${PYTHONDONTWRITEBYTECODE:-}" ]; then compile=--compile; else compile=--no-compile; fi
    "$VENV/bin/python" -m pip install $quiet $compile --disable-pip-version-check "$@"
}

[ $# -gt 0 ] || die "Usage: scripts/install.sh bot|worker|dev …"
make_venv
kind=$(torch_kind)
[ -f "constraints/$kind.txt" ] || die "TORCH is '$kind'; it can be cpu or cuda."
hash=$(cat pyproject.toml constraints/*.txt scripts/install.sh | cksum)-$kind

missing=
for part in "$@"; do
    [ "$(cat "$VENV/darkroom-$part" 2>/dev/null)" = "$hash" ] || missing="$missing $part"
done
[ -n "$missing" ] || exit 0

list="$VENV/darkroom-requirements.txt"
# shellcheck disable=SC2086  # the parts are words
"$VENV/bin/python" scripts/requirements.py $missing >"$list" 2>/dev/null || die "pyproject.toml has no part of that name:$missing"
echo "Installing what these parts need:$missing (torch: $kind). The first time takes a few minutes."
case "$missing" in *worker*)
    if [ "$kind" = cpu ]; then install_cpu_torch; fi
    # The CPU build satisfies the pin on a machine that has since got a GPU, so it has to go first.
    case "$kind-$(torch_version)" in cuda-*+cpu) "$VENV/bin/python" -m pip uninstall -q -y torch ;; esac
esac
pip -c "constraints/$kind.txt" -r "$list" ||
    die "The installation failed; pip's messages are above. Run it again to continue from here."
for part in $missing; do echo "$hash" >"$VENV/darkroom-$part"; done
